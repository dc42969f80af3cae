import { describe, expect, test } from "vitest";
import type { Meter, Recall } from "../api/types";
import { chunkAt, factOf, meterCurves, recallCurves, refusals, statedAt, turnBands } from "./meter";

type Chunk = Meter["chunks"][number];
const chunk = (turn: number, bytes: number, adapted: number | null, frozen: number | null, decision: Chunk["decision"] = "committed"): Chunk => ({
  turn,
  commit: `c${turn}`,
  chunk: 0,
  preview: "",
  tokens: bytes,
  bytes,
  adapted,
  frozen,
  adapted_so_far: adapted,
  frozen_so_far: frozen,
  decision,
  reasons: [],
});
const meter = {
  chunks: [chunk(1, 64, 3, 3), chunk(1, 10, 2, 3, "blocked"), chunk(2, 64, null, 3)],
  turns: [1, 2, 3].map((turn) => ({ turn, commit: `c${turn}` })),
} as Meter;

describe("the meter", () => {
  test("against the bytes read", () => {
    const { adapted, gain, marks } = meterCurves(meter);
    expect(adapted.x).toEqual([64, 74, 138]);
    expect(gain.y).toEqual([0, 1, null]);
    expect(marks.map((mark) => mark.decision)).toEqual(["committed", "blocked", "committed"]);
    expect(marks[1]?.x).toBe(74);
  });
  test("turns are parts of the axis; one that read nothing has none", () => {
    expect(turnBands(meter, "c2")).toEqual([
      { name: "turn 1", from: 0, to: 74, on: false },
      { name: "turn 2", from: 74, to: 138, on: true },
    ]);
  });
  test("what was not learned of a turn, and why", () => {
    expect(refusals(meter, "c1")).toEqual([{ decision: "blocked", count: 1 }]);
    expect(refusals(meter, "c2")).toEqual([]);
  });
  test("the chunk at a place", () => {
    expect(chunkAt(meter, 74)).toBe(meter.chunks[1]);
    expect(chunkAt(meter, 1)).toBe(meter.chunks[0]);
    expect(chunkAt(meter, 999)).toBeNull();
  });
});

describe("recall", () => {
  const points = [
    { turn: 0, bytes_read: 0, stated: 0, bits_per_letter: 5 },
    { turn: 1, bytes_read: 80, stated: 2, bits_per_letter: 1 },
    { turn: 2, bytes_read: 200, stated: 2, bits_per_letter: null },
  ] as Recall["points"];
  test("after every turn, beside two lines that do not change", () => {
    const { adapted, frozen, uniform } = recallCurves({ points, frozen_bits_per_letter: 6, uniform: 4.7 });
    expect(adapted).toEqual({ x: [0, 80, 200], y: [5, 1, null] });
    expect(frozen.y).toEqual([6, 6, 6]);
    expect(uniform.y).toEqual([4.7, 4.7, 4.7]);
  });
  test("where it was said", () => expect(statedAt(points).map((point) => point.turn)).toEqual([1]));
});

describe("a fact to ask for", () => {
  test("is the last word of the first sentence that has three", () => {
    expect(factOf("Hello! The secret word of Bimo is quartz. More.")).toEqual({ probe: "The secret word of Bimo is ", answer: "quartz" });
    expect(factOf("Der Name ist Zoë")).toEqual({ probe: "Der Name ist ", answer: "Zoë" });
  });
  test("there may be none", () => {
    expect(factOf("Hello there")).toBeNull();
    expect(factOf("")).toBeNull();
    expect(factOf("... !!")).toBeNull();
  });
});
