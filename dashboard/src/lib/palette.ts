/** Colour and dash of an overlaid run, by slot: told apart without colour too. */

export interface Stroke {
  light: string;
  dark: string;
  dash: number[];
}

export const strokes: readonly Stroke[] = [
  { light: "#12645f", dark: "#6cc9bd", dash: [] },
  { light: "#c04a1c", dark: "#f2936b", dash: [7, 3] },
  { light: "#4a4db5", dark: "#a3a7f5", dash: [2, 3] },
  { light: "#8f6400", dark: "#ddb355", dash: [10, 3, 2, 3] },
  { light: "#96357f", dark: "#e28fd2", dash: [5, 2, 1, 2, 1, 2] },
  { light: "#44576a", dark: "#a9bac9", dash: [14, 4] },
];

export const stroke = (slot: number): Stroke => strokes[slot % strokes.length] as Stroke;
