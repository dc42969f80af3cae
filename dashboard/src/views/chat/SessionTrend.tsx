import { useElementSize } from "@mantine/hooks";
import { memo } from "react";
import type { Turn } from "../../api/types";
import { summarize } from "../../lib/events";
import { fixed } from "../../lib/format";
import { layStrip, linePath } from "../../lib/strip";
import { Point } from "./ChunkStrip";
import classes from "./SessionTrend.module.css";

const HEIGHT = 44;
const EDGE = 6;
const MANY = 160;

/** The loss of every chunk of the session when it was first read, turn by turn; a turn's part leads to its card. */
export const SessionTrend = memo(function SessionTrend({ turns }: { turns: Turn[] }) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const events = turns.flatMap((turn) => turn.events);
  const strip = width > 0 ? layStrip(events, width, HEIGHT, EDGE) : null;
  let first = 0;
  const parts = turns.map((turn) => {
    const part = { turn, first, last: first + turn.events.length - 1 };
    first += turn.events.length;
    return part;
  });
  const gap = strip && events.length > 1 ? (width - 2 * EDGE) / (events.length - 1) : 0;
  return (
    <section className={classes.trend} aria-label="Loss over the session">
      <span className={classes.name}>
        Loss by chunk
        <small>{parts.length} turns</small>
      </span>
      <div ref={ref} className={classes.plot} style={{ height: HEIGHT }}>
        {strip && (
          <svg width={width} height={HEIGHT} aria-hidden="true">
            {parts.map(
              ({ turn, first: start, last }) =>
                last >= start && (
                  <rect
                    key={turn.commit}
                    className={classes.part}
                    x={EDGE + (start - 0.5) * gap}
                    y="0"
                    width={(last - start + 1) * gap}
                    height={HEIGHT}
                    onClick={() => document.querySelector(`[data-commit="${turn.commit}"]`)?.scrollIntoView({ block: "start" })}
                  >
                    <title>{tell(turn)}</title>
                  </rect>
                ),
            )}
            <path d={linePath(strip)} className={classes.line} />
            {strip.marks.map(
              (mark, i) =>
                (events.length <= MANY || mark.decision !== "committed") && (
                  <Point key={`${i}`} mark={{ ...mark, after: null }} radius={events.length > 40 ? 1.4 : 2} />
                ),
            )}
          </svg>
        )}
      </div>
      {strip && (
        <span className={classes.range}>
          <span>{fixed(strip.high, 2)}</span>
          <span>{fixed(strip.low, 2)}</span>
        </span>
      )}
    </section>
  );
});

function tell(turn: Turn): string {
  const sum = summarize(turn.events);
  return `Turn ${turn.turn}: loss ${fixed(sum.lossBefore)}, after learning ${fixed(sum.lossAfter)}`;
}
