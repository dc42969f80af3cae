import { expect, it } from "vitest";
import { type ChartMark, groupMarks, rowsOf } from "./marks";

const mark = (x: number, changes: Partial<ChartMark> = {}): ChartMark => ({ x, decision: "blocked", row: 0, ...changes });

it("lets neighbours with one decision share a word, and knows the room behind it", () => {
  const groups = groupMarks([mark(1), mark(2), mark(3), mark(20), mark(21, { decision: "rolled_back" })], (x) => 10 * x, 0, 400);
  expect(groups.map(({ text, first, last, before, room }) => [text, first, last, before, room])).toEqual([
    ["blocked ×3", 10, 30, 10, 170],
    ["blocked", 200, 200, 170, 10],
    ["rolled back", 210, 210, 10, 190],
  ]);
});

it("keeps two runs apart by row and letter", () => {
  const groups = groupMarks([mark(1, { letter: "A" }), mark(2, { letter: "A" }), mark(1, { row: 1, letter: "B" })], (x) => 5 * x, 0, 100);
  expect(groups.map(({ text, row }) => [text, row])).toEqual([
    ["A blocked ×2", 0],
    ["B blocked", 1],
  ]);
  expect(groupMarks([], (x) => x, 0, 10)).toEqual([]);
});

it("gives committed writes no word and no row of shapes", () => {
  const committed = { x: 5, decision: "committed" as const, row: 0 };
  expect(groupMarks([committed], (x) => x, 0, 100)).toEqual([]);
  expect(rowsOf([committed])).toBe(0);
  expect(rowsOf([committed, { x: 6, decision: "blocked", row: 1 }])).toBe(2);
});
