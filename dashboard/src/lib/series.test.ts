import { describe, expect, it } from "vitest";
import { alignCurves, lastKnown, mergePoints } from "./series";

const rows = (...steps: number[]) => steps.map((step) => ({ step, loss: step / 10 }));

describe("mergePoints", () => {
  it("appends new rows", () => expect(mergePoints(rows(1, 2), rows(3))).toEqual(rows(1, 2, 3)));

  it("takes rows that arrive twice once", () => expect(mergePoints(rows(1, 2, 3), rows(2, 3, 4))).toEqual(rows(1, 2, 3, 4)));

  it("lets a resumed run rewrite its tail", () => {
    expect(mergePoints(rows(10, 20), [{ step: 20, loss: 9 }])).toEqual([{ step: 10, loss: 1 }, { step: 20, loss: 9 }]);
  });

  it("orders rows that arrive out of order, and changes no input", () => {
    const known = Object.freeze(rows(5));
    expect(mergePoints(known, rows(9, 7))).toEqual(rows(5, 7, 9));
    expect(mergePoints(known, [])).toBe(known);
  });
});

describe("alignCurves", () => {
  it("puts curves on the union of their x values", () => {
    expect(
      alignCurves([
        { x: [1, 3], y: [10, 30] },
        { x: [2, 3], y: [0.2, null] },
      ]),
    ).toEqual([
      [1, 2, 3],
      [10, null, 30],
      [null, 0.2, null],
    ]);
  });

  it("draws no value that is not finite", () => {
    expect(alignCurves([{ x: [1, 2], y: [Number.NaN, 4] }])).toEqual([[1, 2], [null, 4]]);
  });

  it("takes no curves and empty curves", () => {
    expect(alignCurves([])).toEqual([[]]);
    expect(alignCurves([{ x: [], y: [] }])).toEqual([[], []]);
  });
});

it("finds the last value that is there", () => {
  expect(lastKnown([1, 2, null])).toBe(2);
  expect(lastKnown([null])).toBeNull();
  expect(lastKnown([0, null])).toBe(0);
});
