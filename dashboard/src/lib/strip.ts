/** Where a turn's chunks lie in the small plot on its card. Pure. */
import type { ChunkEvent, Decision } from "../api/types";

export interface Mark {
  chunk: number;
  decision: Decision;
  x: number;
  /** Height of the loss before and after the write; null where it was not finite. */
  before: number | null;
  after: number | null;
}

export interface Strip {
  marks: Mark[];
  low: number;
  high: number;
}

const finite = (value: number | null | undefined): value is number => typeof value === "number" && Number.isFinite(value);

/** Chunks from left to right, losses from top (high) to bottom (low), inside `width` × `height` less `edge` all around. */
export function layStrip(events: readonly ChunkEvent[], width: number, height: number, edge: number): Strip | null {
  const losses = events.flatMap((event) => [event.loss, event.loss_after]).filter(finite);
  if (events.length < 2 || losses.length === 0) return null;
  const low = Math.min(...losses);
  const high = Math.max(...losses);
  const y = (loss: number | null): number | null =>
    finite(loss) ? edge + (high > low ? (high - loss) / (high - low) : 0.5) * (height - 2 * edge) : null;
  const marks = events.map((event, i) => ({
    chunk: event.chunk_index,
    decision: event.decision,
    x: edge + (i / (events.length - 1)) * (width - 2 * edge),
    before: y(event.loss),
    after: y(event.loss_after),
  }));
  return { marks, low, high };
}

/** The SVG path through the losses before the writes. */
export function linePath(strip: Strip): string {
  return strip.marks
    .filter((mark) => mark.before !== null)
    .map((mark, i) => `${i ? "L" : "M"}${mark.x.toFixed(1)} ${mark.before?.toFixed(1)}`)
    .join("");
}
