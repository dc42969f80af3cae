/** A simulated trajectory as paths in a box. Pure. */
import type { NanoPrediction } from "../api/types";

export type Point = readonly [number, number];
type Pair = readonly (number | null)[];

const finite = (pair: Pair | undefined): Point | null => {
  const [x, y] = pair ?? [];
  return typeof x === "number" && typeof y === "number" && Number.isFinite(x) && Number.isFinite(y) ? [x, y] : null;
};

export const points = (pairs: readonly Pair[]): (Point | null)[] => pairs.map(finite);

/** Where a prediction is drawn: its error, `gain` times as large, from the true place. */
export function overlay(truth: readonly (Point | null)[], prediction: Pick<NanoPrediction, "pos">, gain: number): (Point | null)[] {
  return truth.map((at, i) => {
    const said = finite(prediction.pos[i]);
    return at && said && [at[0] + gain * (said[0] - at[0]), at[1] + gain * (said[1] - at[1])];
  });
}

export interface Fit {
  /** Pixels a unit, the same both ways. */
  scale: number;
  place: (point: Point) => [number, number];
}

/** Puts all points into a box with a margin, upwards is up; a single place sits in the middle. */
export function fit(shown: readonly (Point | null)[], width: number, height: number, margin: number): Fit {
  const known = shown.filter((point) => point !== null);
  const span = (axis: 0 | 1): [number, number] => {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const point of known) {
      low = Math.min(low, point[axis]);
      high = Math.max(high, point[axis]);
    }
    return low <= high ? [low, high] : [0, 0];
  };
  const [x, y] = [span(0), span(1)];
  const room = (size: number) => Math.max(1, size - 2 * margin);
  const scale = Math.min(room(width) / Math.max(x[1] - x[0], 1e-6), room(height) / Math.max(y[1] - y[0], 1e-6));
  const middle = [(x[0] + x[1]) / 2, (y[0] + y[1]) / 2] as const;
  return { scale, place: ([a, b]) => [width / 2 + scale * (a - middle[0]), height / 2 - scale * (b - middle[1])] };
}

/** A line through the points; where one is missing it begins anew. */
export function line(through: readonly (Point | null)[], place: Fit["place"]): string {
  let open = false;
  let path = "";
  for (const point of through) {
    if (point) {
      const [x, y] = place(point);
      path += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    }
    open = point !== null;
  }
  return path;
}

/** The steps around one, as many as there are. */
export function around(step: number, steps: number, reach: number): [number, number] {
  const from = Math.max(0, Math.min(step - reach, steps - 2 * reach));
  return [from, Math.min(steps, from + 2 * reach + 1)];
}

/** A round length that takes up to a quarter of the width, for the scale bar: 1, 2 or 5 times a power of ten. */
export function barLength(scale: number, width: number): number {
  const most = width / 4 / scale;
  const power = 10 ** Math.floor(Math.log10(most));
  return ([5, 2, 1].find((digit) => digit * power <= most) ?? 1) * power;
}

/** Where a key leads: the arrows by one, with Shift by ten, Home and End to the ends; null for other keys. */
export function stepTo(step: number, steps: number, key: string, far: boolean): number | null {
  const by = far ? 10 : 1;
  const to = { ArrowLeft: step - by, ArrowRight: step + by, Home: 0, End: steps - 1 }[key];
  return to === undefined ? null : Math.min(steps - 1, Math.max(0, to));
}
