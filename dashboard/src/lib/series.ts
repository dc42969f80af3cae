/** Training curves: joining rows that arrive twice, and several runs on one x axis. Pure. */

export interface Step {
  step: number;
}

/** Rows ordered by step; of two rows with one step the later one in `incoming` wins (a resumed run rewrites its tail). */
export function mergePoints<P extends Step>(known: readonly P[], incoming: readonly P[]): P[] {
  if (incoming.length === 0) return known as P[];
  const last = known.at(-1);
  const sorted = incoming.every((point, i) => i === 0 || point.step > (incoming[i - 1] as P).step);
  if (sorted && (!last || (incoming[0] as P).step > last.step)) return [...known, ...incoming];
  const byStep = new Map(known.map((point) => [point.step, point]));
  for (const point of incoming) byStep.set(point.step, point);
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

export interface Curve {
  x: readonly number[];
  y: readonly (number | null)[];
}

/** Several curves on the union of their x values, as uPlot wants them: `[x, y1, y2, …]`, null where a curve has no value. */
export function alignCurves(curves: readonly Curve[]): [number[], ...(number | null)[][]] {
  const xs = [...new Set(curves.flatMap((curve) => curve.x as number[]))].sort((a, b) => a - b);
  const row = new Map(xs.map((x, i) => [x, i]));
  const columns = curves.map((curve) => {
    const column = new Array<number | null>(xs.length).fill(null);
    curve.x.forEach((x, i) => {
      const value = curve.y[i];
      if (value !== null && value !== undefined && Number.isFinite(value)) column[row.get(x) as number] = value;
    });
    return column;
  });
  return [xs, ...columns];
}

/** The last value that is there. */
export function lastKnown(values: readonly (number | null)[]): number | null {
  for (let i = values.length - 1; i >= 0; i -= 1) {
    const value = values[i];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}
