/** The adaptation meter and the recall curve of a session, as charts show them. Pure. */
import type { Meter, Recall } from "../api/types";
import type { ChartBand, ChartMark, Refusal } from "./marks";
import type { Curve } from "./series";

export interface MeterCurves {
  /** Over all chunks until here. */
  adapted: Curve;
  frozen: Curve;
  /** Of each chunk alone: what learning gained on it. */
  gain: Curve;
  marks: ChartMark[];
}

/** x: bytes read up to and with the chunk. Bits per byte, each chunk scored before it was learned. */
export function meterCurves(meter: Pick<Meter, "chunks">): MeterCurves {
  const x: number[] = [];
  let read = 0;
  for (const chunk of meter.chunks) {
    read += chunk.bytes;
    x.push(read);
  }
  return {
    adapted: { x, y: meter.chunks.map((chunk) => chunk.adapted_so_far) },
    frozen: { x, y: meter.chunks.map((chunk) => chunk.frozen_so_far) },
    gain: { x, y: meter.chunks.map((chunk) => (chunk.adapted === null || chunk.frozen === null ? null : chunk.frozen - chunk.adapted)) },
    marks: meter.chunks.map((chunk, i) => ({ x: x[i] as number, decision: chunk.decision, row: 0 })),
  };
}

/** The turns as named parts of the axis of bytes. */
export function turnBands(meter: Pick<Meter, "turns" | "chunks">, marked: string | null): ChartBand[] {
  let read = 0;
  const ends = new Map<string, [number, number]>();
  for (const chunk of meter.chunks) {
    const [from] = ends.get(chunk.commit) ?? [read, read];
    read += chunk.bytes;
    ends.set(chunk.commit, [from, read]);
  }
  return meter.turns.flatMap((turn) => {
    const place = ends.get(turn.commit);
    return place ? [{ name: `turn ${turn.turn}`, from: place[0], to: place[1], on: turn.commit === marked }] : [];
  });
}

/** The chunk whose bytes end there, or the first one that holds the place. */
export function chunkAt(meter: Pick<Meter, "chunks">, x: number): Meter["chunks"][number] | null {
  let read = 0;
  for (const chunk of meter.chunks) {
    read += chunk.bytes;
    if (x <= read) return chunk;
  }
  return null;
}

/** How many chunks of a turn were not learned, by what stopped them. */
export function refusals(meter: Pick<Meter, "chunks">, commit: string): { decision: Refusal; count: number }[] {
  const own = meter.chunks.filter((chunk) => chunk.commit === commit);
  return (["blocked", "rolled_back"] as const).flatMap((decision) => {
    const count = own.filter((chunk) => chunk.decision === decision).length;
    return count ? [{ decision, count }] : [];
  });
}

export interface RecallCurves {
  adapted: Curve;
  frozen: Curve;
  uniform: Curve;
}

/** Bits per letter of the answer after every turn, beside the frozen model's and those of 26 letters alike. */
export function recallCurves(recall: Pick<Recall, "points" | "frozen_bits_per_letter" | "uniform">): RecallCurves {
  const x = recall.points.map((point) => point.bytes_read);
  return {
    adapted: { x, y: recall.points.map((point) => point.bits_per_letter) },
    frozen: { x, y: x.map(() => recall.frozen_bits_per_letter) },
    uniform: { x, y: x.map(() => recall.uniform) },
  };
}

/** The turns in which the answer was said: the count rises there. */
export const statedAt = (points: Recall["points"]): Recall["points"] => points.filter((point, i) => point.stated > (points[i - 1]?.stated ?? 0));

export interface Fact {
  probe: string;
  answer: string;
}

/** The first sentence of a message that can be asked again: all but its last word, and that word. */
export function factOf(message: string): Fact | null {
  for (const sentence of message.match(/[^.!?\n]+/g) ?? []) {
    const found = /^\s*(.*\S\s)(\S*[\p{L}\p{N}])\P{L}*$/su.exec(sentence);
    if (found && (found[1] as string).trim().split(/\s+/).length >= 2) return { probe: found[1] as string, answer: found[2] as string };
  }
  return null;
}
