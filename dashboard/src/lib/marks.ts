/** Writes on a chart. Refused ones: a dashed line, a shape above it, and the word where there is room; committed ones: a tick
 *  at the foot. And named parts of its axis. Drawing apart, pure. */
import type { Decision } from "../api/types";
import { DECISION_LABEL } from "./events";

export type Refusal = Exclude<Decision, "committed">;

export interface ChartMark {
  x: number;
  decision: Decision;
  /** Line of shapes above the plot, from the bottom: one per overlaid run. */
  row: number;
  /** The run's letter, where two are overlaid. */
  letter?: string;
}

export interface MarkGroup {
  decision: Refusal;
  row: number;
  first: number;
  last: number;
  /** Room to the right of the last shape and to the left of the first, up to the row's next group or the plot's edge. */
  room: number;
  before: number;
  text: string;
  /** The same without the count, where there is no room for it. */
  short: string;
}

const NEAR = 11;

const isRefused = (mark: ChartMark): mark is ChartMark & { decision: Refusal } => mark.decision !== "committed";

/** Lines of shapes above the plot: none where nothing was refused. */
export const rowsOf = (marks: readonly ChartMark[]): number => marks.reduce((most, mark) => (isRefused(mark) ? Math.max(most, mark.row + 1) : most), 0);

/** A named part of the horizontal axis; `on`: it is pointed at. */
export interface ChartBand {
  name: string;
  from: number;
  to: number;
  on: boolean;
}

/** Neighbours with one decision share their word: `blocked` or `A blocked ×5`. Places in CSS pixels, ascending. */
export function groupMarks(marks: readonly ChartMark[], place: (x: number) => number, start: number, end: number): MarkGroup[] {
  const refused = marks.filter(isRefused);
  const rows = [...new Set(refused.map((mark) => mark.row))];
  return rows.flatMap((row) => {
    const groups: (MarkGroup & { n: number })[] = [];
    const letter = refused.find((mark) => mark.row === row)?.letter;
    for (const mark of refused) {
      if (mark.row !== row) continue;
      const at = place(mark.x);
      const open = groups.at(-1);
      if (open && open.decision === mark.decision && at - open.last <= NEAR) {
        open.last = at;
        open.n += 1;
      } else groups.push({ decision: mark.decision, row, first: at, last: at, room: 0, before: 0, text: "", short: "", n: 1 });
    }
    return groups.map(({ n, ...group }, i) => ({
      ...group,
      room: (groups[i + 1]?.first ?? end) - group.last,
      before: group.first - (groups[i - 1]?.last ?? start),
      short: [letter, DECISION_LABEL[group.decision]].filter(Boolean).join(" "),
      text: [letter, DECISION_LABEL[group.decision], n > 1 ? `×${n}` : ""].filter(Boolean).join(" "),
    }));
  });
}

const COLOUR: Record<Decision, string> = { committed: "--good", blocked: "--warn", rolled_back: "--bad" };

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Onto a canvas in device pixels; `place` gives device pixels too. */
export function drawMarks(
  ctx: CanvasRenderingContext2D,
  marks: readonly ChartMark[],
  place: (x: number) => number,
  box: Box,
  ratio: number,
  colour: (name: string) => string,
): void {
  if (marks.length === 0) return;
  const refused = marks.filter(isRefused);
  ctx.save();
  ctx.lineWidth = ratio;
  for (const mark of marks) {
    const x = Math.round(place(mark.x)) + ratio / 2;
    if (x < box.left || x > box.left + box.width) continue;
    ctx.strokeStyle = colour(COLOUR[mark.decision]);
    if (!isRefused(mark)) {
      ctx.globalAlpha = 0.8;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x, box.top + box.height - 6 * ratio);
      ctx.lineTo(x, box.top + box.height);
      ctx.stroke();
      continue;
    }
    ctx.globalAlpha = refused.length > 60 ? 0.25 : 0.55;
    ctx.setLineDash(mark.decision === "blocked" ? [3 * ratio, 3 * ratio] : [ratio, 2 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, box.top);
    ctx.lineTo(x, box.top + box.height);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);
  const level = (row: number) => box.top - (7 + 13 * row) * ratio;
  for (const mark of refused) {
    ctx.fillStyle = colour(COLOUR[mark.decision]);
    shape(ctx, mark.decision, place(mark.x), level(mark.row), 3.4 * ratio);
  }
  ctx.font = `${10.5 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
  ctx.textBaseline = "middle";
  let free = { row: -1, from: 0 }; // the last word's end: a word to the left must not run into it
  for (const group of groupMarks(marks, (x) => place(x) / ratio, box.left / ratio, (box.left + box.width) / ratio + 10)) {
    for (const text of [group.text, group.short]) {
      const wide = ctx.measureText(text).width / ratio;
      const right = wide + 12 <= group.room;
      const left = wide + 12 <= group.before && (free.row !== group.row || group.first - wide - 12 >= free.from);
      if (!right && !left) continue;
      const x = right ? group.last + 7 : group.first - 7;
      ctx.textAlign = right ? "left" : "right";
      ctx.fillStyle = colour(COLOUR[group.decision]);
      ctx.fillText(text, x * ratio, level(group.row));
      free = { row: group.row, from: right ? x + wide : group.last };
      break;
    }
  }
  ctx.restore();
}

/** The shapes of the decisions everywhere in the dashboard: a square, a triangle that points down. */
function shape(ctx: CanvasRenderingContext2D, decision: Refusal, x: number, y: number, size: number): void {
  ctx.beginPath();
  if (decision === "blocked") ctx.rect(x - size, y - size, 2 * size, 2 * size);
  else {
    ctx.moveTo(x - 1.2 * size, y - size);
    ctx.lineTo(x + 1.2 * size, y - size);
    ctx.lineTo(x, y + 1.1 * size);
    ctx.closePath();
  }
  ctx.fill();
}

/** The part that is pointed at as a field between two lines, with its name; the borders of the others as thin lines. */
export function drawBands(
  ctx: CanvasRenderingContext2D,
  bands: readonly ChartBand[],
  place: (x: number) => number,
  box: Box,
  ratio: number,
  colour: (name: string) => string,
): void {
  ctx.save();
  ctx.lineWidth = ratio;
  ctx.font = `${10.5 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
  ctx.textBaseline = "top";
  const inside = (x: number) => Math.round(Math.min(box.left + box.width, Math.max(box.left, place(x))));
  for (const band of bands) {
    const [left, right] = [inside(band.from), inside(band.to)];
    if (band.on) {
      ctx.fillStyle = colour("--accent-soft");
      ctx.fillRect(left, box.top, right - left, box.height);
    }
    ctx.strokeStyle = colour(band.on ? "--accent" : "--line-strong");
    ctx.beginPath();
    for (const x of band.on ? [left, right] : [right]) {
      ctx.moveTo(x, box.top);
      ctx.lineTo(x, box.top + box.height);
    }
    ctx.stroke();
    if (!band.on || ctx.measureText(band.name).width + 10 * ratio > box.left + box.width - left) continue;
    ctx.fillStyle = colour("--accent");
    ctx.fillText(band.name, left + 5 * ratio, box.top + 4 * ratio);
  }
  ctx.restore();
}
