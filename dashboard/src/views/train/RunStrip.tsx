import { Button, Progress } from "@mantine/core";
import type { Ref } from "react";
import { Link } from "wouter";
import { count, duration, figure, fixed, percent, plural, whole } from "../../lib/format";
import { ApiProblem } from "../../lib/problem";
import { heldOutUnit, isLive, type Run } from "../../lib/runs";
import { Problem } from "../../ui/Problem";
import { JobMark } from "../../ui/Status";
import classes from "../../ui/Strip.module.css";
import { useRunActions } from "./useRunActions";

/** Where one run stands: progress and time left while it runs, its result and the next step when it has ended. */
export function RunStrip({ run, ref }: { run: Run; ref?: Ref<HTMLElement> }) {
  const { cancel, resume } = useRunActions();
  const live = isLive(run.status);
  const share = run.steps > 0 ? Math.min(1, run.step / run.steps) : 0;
  const last = run.last;
  return (
    <section ref={ref} className={classes.strip} aria-label={`Run ${run.id}`} data-status={run.status}>
      <div className={classes.head}>
        <h2 title={run.id}>{run.id}</h2>
        <JobMark status={run.status} />
        <span className={classes.actions}>
          {live && (
            <Button variant="default" size="xs" loading={cancel.isPending} onClick={() => cancel.mutate(run.id)}>
              Cancel
            </Button>
          )}
          {run.resumable && !live && (
            <Button size="xs" loading={resume.isPending} onClick={() => resume.mutate(run)}>
              Resume
            </Button>
          )}
          {run.usable && !live && (
            <Button component={Link} href={`/chat?model=${run.id}`} variant="default" size="xs">
              Chat with it
            </Button>
          )}
        </span>
      </div>
      <Progress value={100 * share} size={4} radius={2} aria-label={`${percent(share)} of the steps`} transitionDuration={200} />
      <dl className={classes.figures}>
        <Figure name="Step" value={`${whole(run.step)} of ${whole(run.steps)}`} />
        {live && <Figure name="Time left" value={last ? duration(last.eta_s) : "–"} />}
        {(last || live) && (
          <>
            <Figure name="Loss" value={fixed(last?.loss)} />
            <Figure name={`Held-out ${heldOutUnit(run)}`} value={fixed(run.valBpb ?? last?.val_bpb)} />
            <Figure name="Gradient norm" value={figure(last?.grad_norm)} />
            <Figure name="Tokens per second" value={count(last?.tokens_per_s)} />
            <Figure name="CPU time" value={duration(last?.cpu_seconds)} />
          </>
        )}
        {run.params !== null && <Figure name="Parameters" value={count(run.params)} />}
      </dl>
      {run.status === "interrupted" && (
        <p className={classes.note}>
          {run.resumable
            ? `The process ended before its ${plural(run.steps, "step")} were done. Resume goes on from the last checkpoint.`
            : "The process ended before its first checkpoint. Start it again from the form."}
          {run.error && (
            <>
              <br />
              The last line it wrote: {run.error}
            </>
          )}
        </p>
      )}
      {run.error && run.status === "failed" && <Problem error={new ApiProblem(0, "The run failed", run.error)} />}
      <Problem error={cancel.error ?? resume.error} />
    </section>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
