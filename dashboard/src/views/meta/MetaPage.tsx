import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { Redirect, useLocation, useRoute } from "wouter";
import { fetchMetrics, metricsKey } from "../../api/follow";
import { jobs, models, queryClient } from "../../api/queries";
import type { TrainPoint } from "../../api/types";
import { isLive, isMeta, joinRuns, type Run } from "../../lib/runs";
import { mergePoints } from "../../lib/series";
import { Empty } from "../../ui/Empty";
import { Plus } from "../../ui/icons";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";
import { useTitle } from "../../ui/useTitle";
import { Follow } from "../train/Follow";
import { RunStrip } from "../train/RunStrip";
import { Cost } from "./Cost";
import { Looks } from "./Looks";
import classes from "./Meta.module.css";
import { NewMeta } from "./NewMeta";

/** Runs of meta-learning, one at a time: what reading teaches the model, before and after, and what it costs. */
export default function MetaPage() {
  const [, params] = useRoute("/meta/:id");
  const id = params?.id ?? null;
  useTitle(id ? `Meta: ${id}` : "Meta");
  const jobList = useQuery(jobs);
  const modelList = useQuery(models);
  const runs = useMemo(() => joinRuns(jobList.data ?? [], modelList.data ?? []).filter(isMeta), [jobList.data, modelList.data]);
  const [asked, ask] = useState(false);
  const [, navigate] = useLocation();
  const there = jobList.data !== undefined && modelList.data !== undefined;
  if (!id && there && runs[0]) return <Redirect to={`/meta/${runs[0].id}`} replace />;
  const run = runs.find((entry) => entry.id === id);
  return (
    <div className={page.single}>
      <div className={page.top}>
        <h1>Meta</h1>
        {runs.length > 0 && (
          <Select
            {...FOCUS_TARGET}
            className={classes.run}
            aria-label="Run"
            placeholder="Choose a run"
            searchable
            data={runs.map((entry) => entry.id)}
            value={run?.id ?? null}
            onChange={(next) => next && navigate(`/meta/${next}`)}
          />
        )}
        <span className={page.tools}>
          <Button variant="default" size="xs" leftSection={<Plus size={14} />} onClick={() => ask(true)}>
            New run
          </Button>
        </span>
      </div>
      <Problem error={jobList.error ?? modelList.error} onRetry={() => void Promise.all([jobList.refetch(), modelList.refetch()])} />
      {run && <One key={run.id} run={run} />}
      {there && !run && (
        <div className="panel">
          {id ? (
            <Empty title={`There is no meta-learned run ${id}`}>{runs.length > 0 ? "Choose one of the runs above." : "It may have been removed from the store."}</Empty>
          ) : (
            <Empty title="No meta-learned model yet" action={<Button onClick={() => ask(true)}>New run</Button>}>
              Meta-learning trains a model through the steps in which it learns as it reads. The preset <code>kv_cpu</code> takes about a minute of one core;
              start it here, or in a terminal with
              <Line text="fastweights meta" />
            </Empty>
          )}
        </div>
      )}
      {there && <Cost model={run?.id ?? null} />}
      {asked && <NewMeta onClose={() => ask(false)} onStarted={(job) => navigate(`/meta/${job.model_id}`)} />}
    </div>
  );
}

function One({ run }: { run: Run }) {
  const metrics = useQuery({
    queryKey: metricsKey(run.id),
    // Rows that the stream brought meanwhile stay.
    queryFn: async () => mergePoints(queryClient.getQueryData<TrainPoint[]>(metricsKey(run.id)) ?? [], await fetchMetrics(run.id)),
  });
  return (
    <>
      {isLive(run.status) && <Follow id={run.id} streaming />}
      <RunStrip run={run} />
      <Problem error={metrics.error} onRetry={() => void metrics.refetch()} />
      {metrics.isPending && <p className={page.wait}>Reading {run.id} …</p>}
      {metrics.data && <Looks run={run} points={metrics.data} />}
    </>
  );
}
