import { expect, it } from "vitest";
import { around, barLength, fit, line, overlay, points, stepTo } from "./physics";

it("draws an error as many times larger as asked, from the true place", () => {
  const truth = points([[1, 1], [2, 2], [null, 0]]);
  expect(truth[2]).toBeNull();
  expect(overlay(truth, { pos: [[1.1, 1], [2, 1.5], [0, 0]] }, 10).map((point) => point?.map((value) => +value.toFixed(6)))).toEqual([[2, 1], [2, -3], undefined]);
});

it("fits all points into the box, the same scale both ways and upwards up", () => {
  const { scale, place } = fit([[0, 0], [10, 0], null, [10, 5]], 120, 120, 10);
  expect(scale).toBe(10);
  expect(place([0, 0])).toEqual([10, 85]);
  expect(place([10, 5])).toEqual([110, 35]);
  expect(fit([[3, 3]], 100, 50, 10).place([3, 3])).toEqual([50, 25]);
  expect(fit([], 100, 50, 10).place([0, 0])).toEqual([50, 25]);
});

it("breaks a line where a point is missing", () => {
  expect(line([[0, 0], [1, 1], null, [2, 2]], ([x, y]) => [x, y])).toBe("M0.0 0.0L1.0 1.0M2.0 2.0");
});

it("keeps as many steps around one as there are", () => {
  expect(around(50, 200, 10)).toEqual([40, 61]);
  expect(around(0, 200, 10)).toEqual([0, 21]);
  expect(around(199, 200, 10)).toEqual([180, 200]);
  expect(around(2, 5, 10)).toEqual([0, 5]);
});

it("chooses a round scale bar of a quarter of the width at most", () => {
  expect(barLength(1, 400)).toBe(100);
  expect(barLength(1, 300)).toBe(50);
  expect(barLength(10, 300)).toBe(5);
  expect(barLength(100, 300)).toBeCloseTo(0.5);
});

it("steps by keys within the trajectory", () => {
  expect(stepTo(5, 10, "ArrowRight", false)).toBe(6);
  expect(stepTo(5, 10, "ArrowLeft", true)).toBe(0);
  expect(stepTo(9, 10, "ArrowRight", false)).toBe(9);
  expect(stepTo(5, 10, "End", false)).toBe(9);
  expect(stepTo(5, 10, "Home", false)).toBe(0);
  expect(stepTo(5, 10, "x", false)).toBeNull();
});
