import { Button } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useLocation, useRoute } from "wouter";
import { api, take } from "../../api/client";
import { queryClient, redteamReport, redteamRuns } from "../../api/queries";
import type { RedteamSummary } from "../../api/types";
import { command } from "../../lib/redteam";
import { ApiProblem } from "../../lib/problem";
import { Empty } from "../../ui/Empty";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { JobMark } from "../../ui/Status";
import strip from "../../ui/Strip.module.css";
import { useTitle } from "../../ui/useTitle";
import { AttackForm } from "./AttackForm";
import classes from "./Redteam.module.css";
import { Report } from "./Report";
import { RunList } from "./RunList";

export default function RedteamPage() {
  useTitle("Red team");
  const [, navigate] = useLocation();
  const [, params] = useRoute("/redteam/:id");
  const runs = useQuery(redteamRuns);
  const list = runs.data ?? [];
  const id = params?.id ?? null;
  const open = list.find((run) => run.run_id === id);
  const under = list.filter((run) => run.status === "running" && run.run_id !== id);
  return (
    <div className={`${page.page} ${classes.page}`} data-open={id ? true : undefined}>
      <h1 className="visually-hidden">Red team</h1>
      <aside>
        <AttackForm onStarted={(run) => navigate(`/redteam/${run.run_id}`)} />
      </aside>
      <div className={page.main}>
        <Problem error={runs.error} onRetry={() => void runs.refetch()} />
        {under.map((run) => (
          <Run key={run.run_id} run={run} />
        ))}
        {id ? (
          open && open.status !== "done" ? <Run run={open} /> : runs.data && <Stored key={id} id={id} />
        ) : (
          runs.data && (
            <div className="panel">
              <Empty title={list.length ? "No report is open" : "No report yet"}>
                {list.length ? (
                  "Open one of the runs below."
                ) : (
                  <>
                    A red team run attacks a model behind its guard and reports what got through and what learning was kept. Start one
                    with the form, or on the command line:
                    <Line text={command({ model: "toy", policy: "default", budget: 64 })} />
                  </>
                )}
              </Empty>
            </div>
          )
        )}
        {list.length > 0 && <RunList runs={list} current={id} />}
      </div>
    </div>
  );
}

function Stored({ id }: { id: string }) {
  const report = useQuery(redteamReport(id));
  const top = useRef<HTMLElement>(null);
  const there = report.data !== undefined;
  useEffect(() => {
    const at = top.current?.getBoundingClientRect().top ?? 0;
    if (at < 0 || at > innerHeight / 2) top.current?.scrollIntoView({ block: "start" });
  }, [there]);
  if (report.error) return <Problem error={report.error} onRetry={() => void report.refetch()} />;
  return report.data ? <Report report={report.data} ref={top} /> : null;
}

/** A run that has no report: it is going on, or ended without one. */
function Run({ run }: { run: RedteamSummary }) {
  const cancel = useMutation({
    mutationFn: () => take(api.POST("/api/redteam/{run_id}/cancel", { params: { path: { run_id: run.run_id } } })),
    onSettled: () => void queryClient.invalidateQueries({ queryKey: redteamRuns.queryKey, exact: true }),
  });
  return (
    <section className={strip.strip} aria-label={`Run ${run.run_id}`} data-status={run.status}>
      <div className={strip.head}>
        <h2>{run.run_id}</h2>
        <JobMark status={run.status} />
        {run.status === "running" && (
          <span className={strip.actions}>
            <Button variant="default" size="xs" loading={cancel.isPending} onClick={() => cancel.mutate()}>
              Cancel
            </Button>
          </span>
        )}
      </div>
      <p className={strip.about}>
        model {run.model} · policy {run.policy} · {run.budget} guard steps an attempt
        {run.stage && <> · now: {run.stage}</>}
      </p>
      {run.status === "failed" && <Problem error={new ApiProblem(0, "The run failed", run.error ?? "It left no message.")} />}
      {run.status === "interrupted" && <p className={strip.note}>Its process ended before the report was written. Start it again from the form.</p>}
      {run.status === "cancelled" && <p className={strip.note}>Cancelled; a run keeps nothing before its report is written.</p>}
      <Problem error={cancel.error} />
    </section>
  );
}
