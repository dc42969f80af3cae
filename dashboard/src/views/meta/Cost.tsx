import { Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { streams } from "../../api/queries";
import type { StreamReport } from "../../api/types";
import { ago, bytes, clock, count, figure, fixed, percent, plural, whole } from "../../lib/format";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Empty } from "../../ui/Empty";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import strip from "../../ui/Strip.module.css";
import { Figure } from "./Looks";
import classes from "./Meta.module.css";

/** What a token costs after any length of text, beside full attention: a stored run of `demo stream`, of this model where there is one. */
export function Cost({ model }: { model: string | null }) {
  const { data, error, refetch } = useQuery(streams);
  const [chosen, setChosen] = useState<string | null>(null);
  const report = data?.find((entry) => entry.stream_id === chosen) ?? data?.find((entry) => model !== null && entry.model === model) ?? data?.[0];
  return (
    <section className={page.section} aria-label="Cost per token">
      <div className={page.head}>
        <h2>What a token costs</h2>
        {data && data.length > 1 && (
          <Select
            className={classes.run}
            aria-label="Measurement"
            size="xs"
            data={data.map((entry) => ({ value: entry.stream_id, label: `${entry.model ?? "fresh weights"}, ${count(entry.context_len)} tokens, ${ago(entry.created_at, Date.now())}` }))}
            value={report?.stream_id ?? null}
            onChange={setChosen}
          />
        )}
      </div>
      <Problem error={error} onRetry={() => void refetch()} />
      {data && !report && (
        <div className="panel">
          <Empty title="Not measured in this store yet">
            The demo streams a long text with constant memory, beside full attention over a cache of all of it:
            <Line text="fastweights demo stream" />
          </Empty>
        </div>
      )}
      {report && <Report report={report} />}
    </section>
  );
}

function Report({ report }: { report: StreamReport }) {
  const { cost, state } = useMemo(() => {
    const { points } = report;
    const curve = (id: string, slot: number, of: (point: StreamReport["points"][number]) => number | null | undefined): RunCurve => ({
      id,
      slot,
      label: id,
      x: points.map((point) => point.context),
      y: points.map((point) => of(point) ?? null),
    });
    const full = points.some((point) => point.full_attention_ms_per_token != null);
    return {
      cost: [
        curve("streaming", 0, (point) => point.ms_per_token),
        curve("its update", 2, (point) => point.update_ms_per_token),
        ...(full ? [curve("full attention", 1, (point) => point.full_attention_ms_per_token)] : []),
      ],
      state: [curve("streaming", 0, (point) => point.state_bytes), ...(full ? [curve("full attention", 1, (point) => point.full_attention_state_bytes)] : [])],
    };
  }, [report]);
  const shared = { xLabel: "token", sync: "meta-cost", sparse: true, height: 200 };
  return (
    <div className={page.section} data-stream={report.stream_id}>
      <dl className={strip.figures}>
        <Figure name={`Cost at ${whole(report.points.at(-1)?.context)} over that at ${whole(report.points[0]?.context)}`} value={`× ${figure(report.growth)}`} />
        <Figure name="Full attention over streaming" value={report.full_attention_ratio === null ? "not run" : `× ${figure(report.full_attention_ratio)}`} />
        <Figure name={`Loss of the next ${plural(report.query_len, "token")}`} value={`${fixed(report.query.loss)} nats`} />
        <Figure name="With updates off" value={`${fixed(report.query_off.loss)} nats`} />
        <Figure name="Best guess right" value={percent(report.query.accuracy, 1)} />
        <Figure name="With updates off" value={percent(report.query_off.accuracy, 1)} />
        <Figure name="Token by token against batch, logits" value={figure(report.parity)} />
      </dl>
      <div className={page.grid}>
        <Chart {...shared} title="Cost per token" unit="CPU ms of one thread" curves={cost} format={(value) => figure(value)} />
        <Chart {...shared} title="State" unit="bytes" curves={state} format={(value) => bytes(value)} />
      </div>
      <p className={page.hint} title={clock(report.created_at)}>
        {report.model ? `Model ${report.model}` : `Fresh weights of seed ${report.seed}`}: {count(report.params)} parameters, {count(report.fast_params)} of them
        fast; window {whole(report.window)}, chunk {whole(report.chunk)}, {plural(report.updates, "update")}; {report.source}. {report.notice}
      </p>
    </div>
  );
}
