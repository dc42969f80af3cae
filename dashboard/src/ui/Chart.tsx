import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axisTick } from "../lib/format";
import { stroke } from "../lib/palette";
import { type ChartBand, type ChartMark, drawBands, drawMarks, rowsOf } from "../lib/marks";
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
  /** Values over many orders of size; what is not above zero is not drawn. */
  log?: boolean;
  /** Parts of the horizontal axis that have a name. */
  bands?: readonly ChartBand[];
  /** The pointer is there; null: it went away. */
  onPoint?: (x: number | null) => void;
}

const NO_MARKS: readonly ChartMark[] = [];
const NO_BANDS: readonly ChartBand[] = [];

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

/** A logarithm has no place for zero. */
const positive = <C extends Curve>(curve: C): C => ({ ...curve, y: curve.y.map((value) => (value !== null && value > 0 ? value : null)) });

/** `0.01`, `10`, `1e−6`. */
const powerTick = (value: number): string => (value >= 0.001 && value < 1e5 ? axisTick(value) : value.toExponential(0).replace("-", "−").replace("+", ""));

const isEmpty = ([, ...columns]: ArrayLike<number | null | undefined>[]): boolean =>
  columns.every((column) => lastKnown(column as (number | null)[]) === null);

/** A little room above and below; a single value sits in the middle. */
function padded(_: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  const room = high > low ? 0.08 * (high - low) : 0.1 * Math.abs(high) || 0.5;
  return [low - room, high + room];
}

/** Whole powers of ten around the values, so that there is always more than one tick. */
function decades(_: uPlot, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null || !(low > 0)) return [0.1, 1];
  const [from, to] = [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high))];
  return [from, to > from ? to : 10 * from];
}

/** At most six of them, and none between. */
function decadeTicks(_: uPlot, _axis: number, low: number, high: number): number[] {
  const [from, to] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))];
  const step = Math.max(1, Math.ceil((to - from) / 5));
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_hole, i) => 10 ** (from + i * step));
}

/** One figure of the overlaid runs against steps or time; the pointer's place is shared by all charts of the page. */
export function Chart({ title, unit, xLabel, curves, format, sparse = false, sync = "train", height = 190, marks = NO_MARKS, tell, onPick, log = false, bands = NO_BANDS, onPoint }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const { ref, width } = useElementSize<HTMLDivElement>();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const [index, setIndex] = useState<number | null>(null);
  const data = useMemo(() => alignCurves(log ? curves.map(positive) : curves), [curves, log]);
  const slots = curves.map((curve) => curve.slot).join();
  const latest = useRef(data);
  latest.current = data;
  const marked = useRef(marks);
  marked.current = marks;
  const banded = useRef(bands);
  banded.current = bands;
  const pick = useRef(onPick);
  pick.current = onPick;
  const point = useRef(onPoint);
  point.current = onPoint;
  const rows = rowsOf(marks);

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
        scales: { x: { time: false }, y: log ? { distr: 3, range: decades } : { range: padded } },
        cursor: { sync: { key: sync }, drag: { x: false, y: false }, points: { size: 7 }, y: false },
        axes: [
          { ...axis, grid: { show: false }, size: 28, gap: 4, incrs: WHOLE },
          { ...axis, ...(log && { splits: decadeTicks, filter: (_, splits) => splits }), size: (_, ticks) => room(ticks), gap: 6, values: (u, ticks) => ticks.map((tick) => (tick === null || isEmpty([...u.data]) ? "" : log ? powerTick(tick) : axisTick(tick))) },
        ],
        series: [
          {},
          ...slots.split(",").map((slot): uPlot.Series => {
            const style = stroke(Number(slot));
            return {
              stroke: style[scheme],
              width: 1.6,
              dash: style.dash,
              spanGaps: !log, // zero has no place on a logarithm: no line leads across it
              points: { show: (u, i) => sparse || isAlone(u.data[i]), size: 5, fill: style[scheme] },
            };
          }),
        ],
        hooks: {
          setCursor: [(u) => setIndex(u.cursor.idx ?? null)],
          drawClear: [(u) => drawBands(u.ctx, banded.current, (x) => u.valToPos(x, "x", true), u.bbox, devicePixelRatio, colour)],
          draw: [(u) => drawMarks(u.ctx, marked.current, (x) => u.valToPos(x, "x", true), u.bbox, devicePixelRatio, colour)],
          ready: [
            (u) => {
              const here = () => (u.cursor.idx == null ? undefined : u.data[0][u.cursor.idx]);
              u.over.addEventListener("click", () => {
                const x = here();
                if (x !== undefined) pick.current?.(x);
              });
              u.over.addEventListener("mousemove", () => point.current?.(here() ?? null));
              u.over.addEventListener("mouseleave", () => point.current?.(null));
            },
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
  }, [slots, scheme, width === 0, sparse, sync, height, rows, log]);

  useEffect(() => plot.current?.setData(data as uPlot.AlignedData), [data]);
  useEffect(() => plot.current?.redraw(false), [marks, bands]);
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
    <figure className={classes.chart} aria-label={`${title} in ${unit}: ${said}`} data-chart={title} data-points={xs.length} data-marks={marks.length} data-band={bands.find((band) => band.on)?.name}>
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
