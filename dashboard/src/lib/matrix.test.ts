import { expect, it } from "vitest";
import { dashes, difference, largest, nextCell, shades, strength } from "./matrix";

it("subtracts entry by entry and finds the largest magnitude", () => {
  expect(difference([[3, 1]], [[1, 4]])).toEqual([[2, -3]]);
  expect(largest([[2, -3], [0, 1]])).toBe(3);
  expect(largest([])).toBe(0);
});

it("draws zero as nothing, the smallest entry as something, and the scale's end at full strength", () => {
  expect(strength(0, 5)).toBe(0);
  expect(strength(1e-9, 5)).toBe(1 / 16);
  expect(strength(-5, 5)).toBe(1);
  expect(strength(7, 5)).toBe(1);
  expect(strength(1, 0)).toBe(0);
});

it("joins cells of one sign and strength into one path", () => {
  const found = shades([[1, 1], [-1, 0]]);
  expect(found).toHaveLength(2);
  expect(found.find((shade) => !shade.negative)?.path).toBe("M0 0h1v1h-1ZM1 0h1v1h-1Z");
  expect(found.find((shade) => shade.negative)?.path).toBe("M0 1h1v1h-1Z");
});

it("puts a dash on negative cells only", () => {
  expect(dashes([[1, -2], [0, 3]])).toBe("M1.28 0.5h0.44");
});

it("steps from cell to cell within the matrix", () => {
  expect(nextCell({ row: 0, column: 0 }, "ArrowDown", 2, 3)).toEqual({ row: 1, column: 0 });
  expect(nextCell({ row: 1, column: 2 }, "ArrowRight", 2, 3)).toEqual({ row: 1, column: 2 });
  expect(nextCell({ row: 0, column: 0 }, "ArrowUp", 2, 3)).toEqual({ row: 0, column: 0 });
  expect(nextCell({ row: 0, column: 0 }, "a", 2, 3)).toBeNull();
});
