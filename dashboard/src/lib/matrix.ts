/** Matrices as heat maps: cells, their difference, and the scale that they share. Pure. */

export type Matrix = readonly (readonly number[])[];

export const difference = (a: Matrix, b: Matrix): number[][] => a.map((row, i) => row.map((value, j) => value - ((b[i] as readonly number[])[j] as number)));

/** Largest magnitude; 0 of nothing. */
export const largest = (matrix: Matrix): number => matrix.reduce((most, row) => row.reduce((m, value) => Math.max(m, Math.abs(value)), most), 0);

/** How strongly a cell is drawn, in steps of 1/`levels` from 0 to 1: by the root, so that small entries are seen too. */
export function strength(value: number, most: number, levels = 16): number {
  if (!(most > 0) || value === 0) return 0;
  return Math.max(1, Math.round(levels * Math.sqrt(Math.min(1, Math.abs(value) / most)))) / levels;
}

/** Cells of one sign and strength as one path of unit squares: a few dozen elements instead of hundreds. */
export interface Shade {
  negative: boolean;
  strength: number;
  path: string;
}

export function shades(matrix: Matrix, most = largest(matrix)): Shade[] {
  const found = new Map<string, Shade>();
  matrix.forEach((row, i) =>
    row.forEach((value, j) => {
      const level = strength(value, most);
      if (level === 0) return;
      const key = `${value < 0} ${level}`;
      const shade = found.get(key) ?? { negative: value < 0, strength: level, path: "" };
      shade.path += `M${j} ${i}h1v1h-1Z`;
      found.set(key, shade);
    }),
  );
  return [...found.values()].sort((a, b) => a.strength - b.strength);
}

/** A dash in the middle of each negative cell: the sign is told without colour too. */
export const dashes = (matrix: Matrix): string =>
  matrix.flatMap((row, i) => row.flatMap((value, j) => (value < 0 ? [`M${j + 0.28} ${i + 0.5}h0.44`] : []))).join("");

export interface Cell {
  row: number;
  column: number;
}

/** Where an arrow key leads from a cell; null where it leads nowhere. */
export function nextCell({ row, column }: Cell, key: string, rows: number, columns: number): Cell | null {
  const to = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  if (!to) return null;
  const clamp = (value: number, end: number) => Math.min(end - 1, Math.max(0, value));
  return { row: clamp(row + (to[0] as number), rows), column: clamp(column + (to[1] as number), columns) };
}
