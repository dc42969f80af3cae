/** Boxes in a line and the ways between them. Pure. */

interface Box {
  x: number;
  y: number;
  height: number;
}

interface Way {
  path: string;
  /** Where its name stands. */
  x: number;
  y: number;
  anchor: "middle" | "start";
}

interface Options {
  width: number;
  /** Width of a box. */
  box: number;
  /** From top to bottom instead of from left to right. */
  down: boolean;
}

export interface LaidGraph {
  width: number;
  height: number;
  boxes: Box[];
  edges: Way[];
}

const LOOP = 44;
const GAP = 46;

/** The nodes in their order; an edge to the same node is a loop above it, or beside it where they stand one under the other. */
export function layGraph(
  nodes: readonly { id: string; height: number }[],
  edges: readonly { source: string; target: string }[],
  { width, box, down }: Options,
): LaidGraph {
  const tallest = Math.max(0, ...nodes.map((node) => node.height));
  const gap = nodes.length > 1 ? Math.min(260, (width - box * nodes.length) / (nodes.length - 1)) : 0;
  const before = (i: number) => nodes.slice(0, i).reduce((sum, node) => sum + node.height + GAP, 0);
  const boxes = nodes.map((node, i): Box =>
    down ? { x: 0, y: before(i), height: node.height } : { x: i * (box + gap), y: LOOP + (tallest - node.height) / 2, height: node.height },
  );
  const at = new Map(nodes.map((node, i) => [node.id, boxes[i] as Box]));
  const ways = edges.map(({ source, target }): Way => {
    const [from, to] = [at.get(source) as Box, at.get(target) as Box];
    if (source === target) return down ? loopBeside(from, box) : loopAbove(from, box);
    if (down) {
      const x = box / 2;
      return { path: `M${x} ${from.y + from.height}V${to.y - 2}`, x: x + 10, y: (from.y + from.height + to.y) / 2 + 4, anchor: "start" };
    }
    const y = LOOP + tallest / 2;
    return { path: `M${from.x + box} ${y}H${to.x - 2}`, x: (from.x + box + to.x) / 2, y: y - 9, anchor: "middle" };
  });
  const last = boxes.at(-1);
  return {
    width,
    height: down ? (last ? last.y + last.height : 0) : LOOP + tallest,
    boxes,
    edges: ways,
  };
}

const loopAbove = ({ x, y }: Box, box: number): Way => ({
  path: `M${x + box - 38} ${y}C${x + box - 30} ${y - 36} ${x + 30} ${y - 36} ${x + 38} ${y - 2}`,
  x: x + box / 2,
  y: y - 33,
  anchor: "middle",
});

const loopBeside = ({ x, y, height }: Box, box: number): Way => ({
  path: `M${x + box} ${y + height - 12}C${x + box + 36} ${y + height - 8} ${x + box + 36} ${y + 8} ${x + box + 2} ${y + 12}`,
  x: x + box + 36,
  y: y + height / 2 + 4,
  anchor: "start",
});
