import { Button } from "@mantine/core";
import type { ReactNode, Ref } from "react";
import { bytes, clock, count, fixed, plural, signed, whole } from "../../lib/format";
import { relaxed, tally } from "../../lib/monitor";
import { ApiProblem } from "../../lib/problem";
import { Save } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { DecisionMark, FlagMark, JobMark } from "../../ui/Status";
import strip from "../../ui/Strip.module.css";
import { Swatch } from "../../ui/Swatch";
import type { Reading } from "./reading";
import classes from "./RunStrip.module.css";

/** One run: its state, what it read and under which rules, and its figures. */
export function RunStrip({ reading, children, ref }: { reading: Reading; children?: ReactNode; ref?: Ref<HTMLElement> }) {
  const { run, status } = reading;
  const so = tally(reading.events);
  const sum = reading.summary ?? so;
  return (
    <section ref={ref} className={strip.strip} aria-label={reading.letter ? `Run ${reading.letter}` : "Run"} data-status={status} data-run={run?.run_id}>
      <div className={strip.head}>
        {reading.letter && (
          <span className={classes.letter}>
            {reading.letter} <Swatch slot={reading.slot} />
          </span>
        )}
        <h2 title={reading.id}>{run?.run_id ?? "Reading"}</h2>
        <JobMark status={status} />
        <span className={strip.actions}>
          {run && status !== "running" && (
            <Button
              component="a"
              href={`/api/text/runs/${run.run_id}`}
              download={`${run.run_id}.json`}
              variant="default"
              size="xs"
              leftSection={<Save size={14} />}
            >
              JSON
            </Button>
          )}
          {children}
        </span>
      </div>
      {run && <p className={strip.about}>{about(reading)}</p>}
      <dl className={strip.figures}>
        <Card name="Decisions">
          <span className={classes.counts}>
            <DecisionMark decision="committed" count={sum.committed} />
            <DecisionMark decision="blocked" count={sum.blocked} />
            <DecisionMark decision="rolled_back" count={sum.rolled_back} />
            <FlagMark count={sum.flagged} />
          </span>
        </Card>
        <Card name="Chunks" value={whole(sum.chunks)} />
        <Card name="Tokens" value={whole(sum.tokens)} />
        <Card name="Tokens per CPU s" value={count(reading.summary?.tokens_per_cpu_second)} />
        <Card name="Mean loss (nats)" value={fixed(sum.loss_mean)} />
        <Card name="Drift (nats)" value={signed(sum.drift, 4)} />
      </dl>
      {reading.run?.summary?.warning && <p className={strip.note}>{reading.run.summary.warning}</p>}
      <Ending reading={reading} />
    </section>
  );
}

function Card({ name, value, children }: { name: string; value?: string; children?: ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children ?? value}</dd>
    </div>
  );
}

function about({ run, request }: Reading): string {
  if (!run || !request) return "";
  const toy = request.model === "toy";
  const objective = request.objective === "mlm" ? "masked tokens" : "next token";
  const loose = relaxed(request);
  return [
    `${run.source === "text" ? "a text" : run.source}${run.input_bytes ? ` of ${bytes(run.input_bytes)}` : ""}`,
    `model ${request.model}${toy ? ` (${request.backbone.toUpperCase()}, ${objective})` : ""}`,
    `${plural(request.chunk_tokens, "token")} a chunk`,
    request.updates ? "" : "nothing written",
    request.policy ? `policy ${request.policy.name}` : "",
    loose.length > 4 ? `${loose.length} rules not enforced` : loose.join(", ") || "all rules enforced",
    run.own_canaries ? plural(run.own_canaries, "own canary", "own canaries") : "",
    clock(run.created_at),
  ]
    .filter(Boolean)
    .join(" · ");
}

/** A run that did not reach its end says so, and what to do. */
function Ending({ reading }: { reading: Reading }) {
  const { status, run, events } = reading;
  if (status === "failed") return <Problem error={new ApiProblem(0, "The run failed", run?.error ?? "It left no message.")} />;
  const far = events.length ? `after ${plural(events.length, "chunk")}` : "before its first chunk";
  if (status === "interrupted") {
    return <p className={strip.note}>Its process ended {far}, before the text did. What it had read is below; run the text again for the rest.</p>;
  }
  if (status === "cancelled") return <p className={strip.note}>Stopped {far}. What it had read is kept; run the text again for the rest.</p>;
  if (reading.more && status !== "running") {
    return <p className={strip.note}>The page holds the first {plural(events.length, "chunk")}; the others are in the API and in the run's folder.</p>;
  }
  return null;
}
