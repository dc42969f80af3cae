import { useDisclosure } from "@mantine/hooks";
import { useId } from "react";
import type { ChunkEvent, SessionOptions } from "../../api/types";
import { summarize } from "../../lib/events";
import { figure, fixed, percent, plural, signed } from "../../lib/format";
import { Chevron } from "../../ui/icons";
import { DecisionMark } from "../../ui/Status";
import { ChunkStrip } from "./ChunkStrip";
import { ChunkTable } from "./ChunkTable";
import { DriftMeter } from "./DriftMeter";
import classes from "./LearningCard.module.css";

interface Props {
  events: ChunkEvent[];
  learned: boolean;
  drift: number | null;
  policy: SessionOptions["policy"] | undefined;
}

/** What one turn wrote into the fast weights, and what the guard said to it. */
export function LearningCard({ events, learned, drift, policy }: Props) {
  const [opened, { toggle }] = useDisclosure(false);
  const id = useId();
  if (!learned && events.length === 0) {
    return <p className={classes.none}>Answered without learning: nothing was written.</p>;
  }
  const sum = summarize(events);
  const change = sum.lossBefore !== null && sum.lossAfter !== null ? sum.lossAfter - sum.lossBefore : null;
  const share = sum.attempted ? sum.written / sum.attempted : null;
  return (
    <section className={classes.card} aria-label="What it learned">
      <div className={classes.top}>
        <dl className={classes.figures}>
          <div>
            <dt>Loss before and after learning</dt>
            <dd>
              {fixed(sum.lossBefore)} <span className={classes.arrow}>→</span> {fixed(sum.lossAfter)}
              <small data-better={change !== null && change < 0 ? true : undefined}>{signed(change)} nats</small>
            </dd>
          </div>
          {sum.gradNorm !== null && (
            <div>
              <dt>Gradient norm, peak</dt>
              <dd>{figure(sum.gradNorm)}</dd>
            </div>
          )}
          <div>
            <dt>Written of attempted</dt>
            <dd>
              {figure(sum.written)} <small>of {figure(sum.attempted)}</small>
              {share !== null && <small>{percent(share)}</small>}
            </dd>
          </div>
          <div>
            <dt>Drift so far</dt>
            <dd>
              <DriftMeter drift={drift} policy={policy} />
            </dd>
          </div>
        </dl>
        <ChunkStrip events={events} />
      </div>
      <div className={classes.row}>
        <span className={classes.counts}>
          <DecisionMark decision="committed" count={sum.counts.committed} />
          <DecisionMark decision="blocked" count={sum.counts.blocked} />
          <DecisionMark decision="rolled_back" count={sum.counts.rolled_back} />
        </span>
        {sum.projected !== null && <span className="muted">SPFW removed {percent(sum.projected)} of the update</span>}
        <button type="button" className={classes.more} aria-expanded={opened} aria-controls={id} onClick={toggle}>
          <Chevron size={13} />
          {plural(sum.chunks, "chunk")}, {plural(sum.tokens, "token")}
        </button>
      </div>
      {sum.reasons.length > 0 && (
        <ul className={classes.reasons}>
          {sum.reasons.map((reason) => (
            <li key={`${reason.decision} ${reason.text}`} data-decision={reason.decision}>
              <DecisionMark decision={reason.decision} />
              <span>{reason.text}</span>
              {reason.count > 1 && <small>{reason.count} times</small>}
            </li>
          ))}
        </ul>
      )}
      <div id={id}>{opened && <ChunkTable events={events} />}</div>
    </section>
  );
}
