import { expect, it } from "vitest";
import { layGraph } from "./graph";

const nodes = [{ id: "x", height: 80 }, { id: "h", height: 40 }];
const edges = [{ source: "x", target: "h" }, { source: "h", target: "h" }];

it("lays boxes from left to right, middles in one line, and loops above", () => {
  const { boxes, edges: ways, height } = layGraph(nodes, edges, { width: 400, box: 100, down: false });
  expect(boxes.map(({ x }) => x)).toEqual([0, 300]);
  expect((boxes[0]?.y ?? 0) + 40).toBe((boxes[1]?.y ?? 0) + 20);
  expect(ways[0]?.path).toMatch(/^M100 \d+H298$/);
  expect(ways[1]?.y).toBeLessThan(boxes[1]?.y ?? 0);
  expect(height).toBeGreaterThanOrEqual((boxes[0]?.y ?? 0) + 80);
});

it("lays them one under the other where there is little room", () => {
  const { boxes, edges: ways, height } = layGraph(nodes, edges, { width: 300, box: 100, down: true });
  expect(boxes.map(({ x }) => x)).toEqual([0, 0]);
  expect(boxes[1]?.y).toBeGreaterThan(80);
  expect(height).toBe((boxes[1]?.y ?? 0) + 40);
  expect(ways.every(({ anchor }) => anchor === "start")).toBe(true);
});
