import { expect, it } from "vitest";
import type { ChunkEvent } from "../api/types";
import { layStrip, linePath } from "./strip";

const event = (loss: number | null, after: number | null) => ({ chunk_index: 0, decision: "committed", loss, loss_after: after }) as ChunkEvent;

it("lays chunks from left to right and high losses at the top", () => {
  const strip = layStrip([event(4, 3), event(2, 2), event(null, null)], 100, 40, 5);
  expect(strip).toMatchObject({ low: 2, high: 4 });
  expect(strip?.marks.map((mark) => mark.x)).toEqual([5, 50, 95]);
  expect(strip?.marks[0]).toMatchObject({ before: 5, after: 20 });
  expect(strip?.marks[1]).toMatchObject({ before: 35, after: 35 });
  expect(strip?.marks[2]).toMatchObject({ before: null, after: null });
  expect(strip && linePath(strip)).toBe("M5.0 5.0L50.0 35.0");
});

it("puts equal losses in the middle, and draws nothing of one chunk or of no loss", () => {
  expect(layStrip([event(3, 3), event(3, 3)], 100, 40, 5)?.marks[0]?.before).toBe(20);
  expect(layStrip([event(3, 2)], 100, 40, 5)).toBeNull();
  expect(layStrip([event(null, null), event(null, null)], 100, 40, 5)).toBeNull();
});
