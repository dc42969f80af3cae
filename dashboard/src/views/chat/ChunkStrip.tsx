import type { ChunkEvent } from "../../api/types";
import { fixed } from "../../lib/format";
import { layStrip, linePath, type Mark } from "../../lib/strip";
import classes from "./ChunkStrip.module.css";

const WIDTH = 300;
const HEIGHT = 46;

/** The loss of each chunk when it was first read, and the line down to its loss after the write. */
export function ChunkStrip({ events }: { events: ChunkEvent[] }) {
  const strip = layStrip(events, WIDTH, HEIGHT, 5);
  if (!strip) return null;
  return (
    <figure className={classes.strip}>
      <figcaption>Loss by chunk</figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`Loss by chunk, between ${fixed(strip.low)} and ${fixed(strip.high)} nats per token`}
      >
        <path d={linePath(strip)} className={classes.line} />
        {strip.marks.map((mark) => (
          <Point key={mark.chunk} mark={mark} radius={strip.marks.length > 32 ? 1.5 : 2.2} />
        ))}
      </svg>
      <span className={classes.range}>
        <span>{fixed(strip.high, 2)}</span>
        <span>{fixed(strip.low, 2)}</span>
      </span>
    </figure>
  );
}

/** One chunk: its shape says the decision. */
export function Point({ mark, radius }: { mark: Mark; radius: number }) {
  const { x, before: y, after, decision } = mark;
  if (y === null) return null;
  return (
    <g data-decision={decision} className={classes.point}>
      {after !== null && <path d={`M${x} ${y}V${after}`} />}
      {decision === "committed" && <circle cx={x} cy={y} r={radius} />}
      {decision === "blocked" && <rect x={x - 3} y={y - 3} width="6" height="6" />}
      {decision === "rolled_back" && <path d={`M${x} ${y + 4}l-4 -7h8Z`} />}
    </g>
  );
}
