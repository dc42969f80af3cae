import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { memo, useMemo } from "react";
import { axisTick } from "../../lib/format";
import { stroke } from "../../lib/palette";
import { barLength, fit, line, type Point } from "../../lib/physics";
import css from "./Physics.module.css";

export interface Track {
  slot: number;
  points: readonly (Point | null)[];
}

interface Props {
  title: string;
  about: string;
  truth: readonly (Point | null)[];
  tracks: readonly Track[];
  /** Index of the step on show. */
  here: number;
  /** First step and the one after the last that are drawn. */
  range: [number, number];
  /** Each step as a dot. */
  dots?: boolean;
}

const TALL = 290;

/** Where the body went, and where it was said to go; lengths are the same both ways. */
export function Trajectory({ title, about, truth, tracks, here, range: [from, to], dots = false }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const cut = useMemo(() => ({ truth: truth.slice(from, to), tracks: tracks.map((track) => ({ ...track, points: track.points.slice(from, to) })) }), [truth, tracks, from, to]);
  const laid = useMemo(() => fit([...cut.truth, ...cut.tracks.flatMap((track) => track.points)], width, TALL, 26), [cut, width]);
  const at = truth[here];
  const bar = barLength(laid.scale, width);
  return (
    <figure className={css.view} aria-label={`${title}: ${about}`} data-view={title}>
      <figcaption>
        <b>{title}</b> <span>{about}</span>
      </figcaption>
      <div ref={ref} style={{ height: TALL }}>
        {width > 0 && (
          <svg width={width} height={TALL} aria-hidden="true">
            <Still truth={cut.truth} tracks={cut.tracks} place={laid.place} scheme={scheme} dots={dots} />
            <path className={css.past} d={line(truth.slice(from, here + 1), laid.place)} />
            {tracks.map((track) => {
              const said = track.points[here];
              if (!at || !said) return null;
              const [[x1, y1], [x2, y2]] = [laid.place(at), laid.place(said)];
              const colour = stroke(track.slot)[scheme];
              return (
                <g key={track.slot}>
                  <path d={`M${x1} ${y1}L${x2} ${y2}`} stroke={colour} strokeWidth="1.2" />
                  <Sign slot={track.slot} x={x2} y={y2} colour={colour} />
                </g>
              );
            })}
            {at && <circle className={css.body} cx={laid.place(at)[0]} cy={laid.place(at)[1]} r="5" />}
            <path className={css.bar} d={`M10 ${TALL - 8}v-4h${(bar * laid.scale).toFixed(1)}v4`} />
            <text className={css.length} x={14} y={TALL - 17}>
              {axisTick(bar)}
            </text>
          </svg>
        )}
      </div>
    </figure>
  );
}

/** A shape a reader, so that none is told by colour alone. */
function Sign({ slot, x, y, colour }: { slot: number; x: number; y: number; colour: string }) {
  const d = slot === 0 ? `M${x - 4} ${y}l4 -4l4 4l-4 4Z` : slot === 1 ? `M${x - 3.5} ${y - 3.5}h7v7h-7Z` : `M${x} ${y - 4.5}l4.4 8h-8.8Z`;
  return <path d={d} fill="var(--panel)" stroke={colour} strokeWidth="1.8" />;
}

const Still = memo(function Still({ truth, tracks, place, scheme, dots }: Pick<Props, "truth" | "tracks" | "dots"> & { place: (point: Point) => [number, number]; scheme: "light" | "dark" }) {
  return (
    <>
      <path className={css.whole} d={line(truth, place)} />
      {tracks.map((track) => {
        const style = stroke(track.slot);
        return <path key={track.slot} d={line(track.points, place)} fill="none" stroke={style[scheme]} strokeWidth="1.4" strokeDasharray={style.dash.join(" ")} strokeOpacity="0.9" />;
      })}
      {dots &&
        truth.map((point, i) => {
          if (!point) return null;
          const [x, y] = place(point);
          return <circle key={i} className={css.dot} cx={x} cy={y} r="2.2" />;
        })}
    </>
  );
});
