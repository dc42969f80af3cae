import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axisTick } from "../lib/format";
import { stroke } from "../lib/palette";
import { type ChartMark, drawMarks } from "../lib/marks";
import { alignCurves, type Curve, lastKnown } from "../lib/series";
import { Swatch } from "./Swatch";
import classes from "./Chart.module.css";

export interface RunCurve extends Curve {
  id: string;
  slot: number;
  /** Said beside the value where one chart has several kinds of curve; without it only the stroke tells. */
  label?: string;
}

interface Props {
  title: string;
  unit: string;
  xLabel: string;
  curves: RunCurve[];
  format: (value: number | null) => string;
  /** Values are far apart (held-out figures): draw each as a dot too. */
  sparse?: boolean;
  /** Charts with the same key share the pointer's place. */
  sync?: string;
  height?: number;
  /** Places that matter, by shape, dash and word as well as by colour. */
  marks?: readonly ChartMark[];
  /** What to say of the pointer's place, instead of the unit. */
  tell?: (x: number) => string | null;
  onPick?: (x: number) => void;
}

const NO_MARKS: readonly ChartMark[] = [];

/** Steps of the horizontal axis: whole numbers only. */
const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

/** A curve of one value would not show as a line. */
function isAlone(column: ArrayLike<number | null | undefined> | undefined): boolean {
  let values = 0;
  for (let i = 0; column && i < column.length && values < 2; i += 1) values += column[i] == null ? 0 : 1;
  return values === 1;
}

/** Room for the longest tick of the vertical axis. */
const room = (ticks: readonly string[] | null): number => Math.max(46, 13 + 6.6 * Math.max(0, ...(ticks ?? []).map((tick) => tick.length)));

const isEmpty = ([, ...columns]: ArrayLike<number | null | undefined>[]): boolean =>
  columns.every((column) => lastKnown(column as (number | null)[]) === null);

/** A little room above and below; a single value sits in the middle. */
function padded(_: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const room = high > low ? 0.08 * (high - low) : 0.1 * Math.abs(high) || 0.5;
  return [low - room, high + room];
}

/** One figure of the overlaid runs against steps or time; the pointer's place is shared by all charts of the page. */
export function Chart({ title, unit, xLabel, curves, format, sparse = false, sync = "train", height = 190, marks = NO_MARKS, tell, onPick }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const { ref, width } = useElementSize<HTMLDivElement>();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const [index, setIndex] = useState<number | null>(null);
  const data = useMemo(() => alignCurves(curves), [curves]);
  const slots = curves.map((curve) => curve.slot).join();
  const latest = useRef(data);
  latest.current = data;
  const marked = useRef(marks);
  marked.current = marks;
  const pick = useRef(onPick);
  pick.current = onPick;
  const rows = marks.reduce((most, mark) => Math.max(most, mark.row + 1), 0);

  useEffect(() => {
    if (!host.current || width === 0) return;
    const css = getComputedStyle(document.documentElement);
    const colour = (name: string) => css.getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: colour("--muted"),
      font: `11px ${getComputedStyle(document.body).fontFamily}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const drawn = new uPlot(
      {
        width,
        height,
        padding: [10 + 13 * rows, 12, 0, 0],
        legend: { show: false },
        scales: { x: { time: false }, y: { range: padded } },
        cursor: { sync: { key: sync }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
        axes: [
          { ...axis, grid: { show: false }, size: 28, gap: 4, incrs: WHOLE },
          { ...axis, size: (_, ticks) => room(ticks), gap: 6, values: (u, ticks) => ticks.map((tick) => (isEmpty([...u.data]) ? "" : axisTick(tick))) },
        ],
        series: [
          {},
          ...slots.split(",").map((slot): uPlot.Series => {
            const style = stroke(Number(slot));
            return {
              stroke: style[scheme],
              width: 1.6,
              dash: style.dash,
              spanGaps: true,
              points: { show: (u, i) => sparse || isAlone(u.data[i]), size: 5, fill: style[scheme] },
            };
          }),
        ],
        hooks: {
          setCursor: [(u) => setIndex(u.cursor.idx ?? null)],
          draw: [(u) => drawMarks(u.ctx, marked.current, (x) => u.valToPos(x, "x", true), u.bbox, devicePixelRatio, colour)],
          ready: [
            (u) =>
              u.over.addEventListener("click", () => {
                const x = u.cursor.idx == null ? undefined : u.data[0][u.cursor.idx];
                if (x !== undefined) pick.current?.(x);
              }),
          ],
        },
      },
      latest.current as uPlot.AlignedData,
      host.current,
    );
    plot.current = drawn;
    return () => {
      plot.current = null;
      drawn.destroy();
    };
  }, [slots, scheme, width === 0, sparse, sync, height, rows]);

  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data]);
  useEffect(() => plot.current?.redraw(false), [marks]);
  useEffect(() => plot.current?.setSize({ width, height }), [width, height]);

  const [xs, ...columns] = data;
  const at = index !== null && index < xs.length ? index : null;
  const readings = curves.map((curve, i) => {
    const column = columns[i] ?? [];
    return { ...curve, value: at === null ? lastKnown(column) : lastKnown(column.slice(0, at + 1)) };
  });
  const empty = isEmpty(data);
  const place = (x: number): string => {
    const here = `${xLabel} ${String(+x.toPrecision(7))}`;
    return tell ? [here, tell(x)].filter(Boolean).join(", ") : `${unit} at ${here}`;
  };
  const said = readings.map((reading) => `${reading.id} ${format(reading.value)}`).join(", ");
  return (
    <figure className={classes.chart} aria-label={`${title} in ${unit}: ${said}`} data-chart={title} data-points={xs.length} data-marks={marks.length}>
      <figcaption>
        <span className={classes.title}>{title}</span>
        <span className={classes.unit}>{at === null ? unit : place(xs[at] as number)}</span>
        <span className={classes.readings}>
          {readings.map((reading) => (
            <span key={reading.id} title={reading.id}>
              {readings.length > 1 && <Swatch slot={reading.slot} />}
              {reading.label && <small>{reading.label}</small>}
              {format(reading.value)}
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={ref} className={classes.frame} data-empty={empty || undefined} style={{ height }}>
        <div ref={host} />
        {empty && <p>No value yet</p>}
      </div>
    </figure>
  );
}
