import { useMemo } from "react";
import { figure, percent, plural } from "../../lib/format";
import { DECISION_LABEL } from "../../lib/events";
import { runAt, shares, updateMarks } from "../../lib/nano";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Empty } from "../../ui/Empty";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { DecisionMark } from "../../ui/Status";
import { Swatch } from "../../ui/Swatch";
import { mark } from "../../ui/useMarked";
import type { TabProps } from "./NanoPage";
import { Timeline } from "./Timeline";
import { TransactionLog } from "./TransactionLog";
import css from "./Transactions.module.css";
import { useBands } from "./useBands";
import { useChoice, useTransactions } from "./useNano";

/** Every write that the guard judged, across the runs. */
export default function Transactions({ view }: TabProps) {
  const { session } = view;
  const { data, error, isPending, refetch } = useTransactions(session);
  const [search, put] = useChoice();
  const bands = useBands(session.runs);
  const picked = Number(search.get("t")) || null;
  const updates = data?.updates;
  const marks = useMemo(() => updateMarks(updates ?? []), [updates]);
  const { gradient, errors, written } = useMemo(() => {
    const list = updates ?? [];
    const x = list.map((update) => update.t);
    const curve = (id: string, slot: number, y: (number | null)[], label = id): RunCurve => ({ id, slot, label, x, y });
    return {
      gradient: [
        curve("gradient", 0, list.map((update) => update.grad_norm)),
        ...(data?.grad_cap ? [curve("cap", 1, list.map(() => data.grad_cap))] : []),
      ],
      errors: [curve("before", 2, list.map((update) => update.pre_loss)), curve("after", 0, list.map((update) => update.post_loss))],
      written: [curve("attempted", 2, list.map((update) => update.attempted_update_norm)), curve("written", 0, list.map((update) => update.update_norm))],
    };
  }, [updates, data?.grad_cap]);
  if (error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (isPending) return <p className={page.wait}>Reading the transactions …</p>;
  if (data.total === 0) {
    return (
      <div className="panel">
        <Empty title="No write yet">The guard judges one write every 32 steps. Press Run above to let the session go on.</Empty>
      </div>
    );
  }
  const point = (x: number | null) => mark(x === null ? null : (runAt(session.runs, x)?.commit ?? null));
  const tell = (x: number) => {
    const update = data.updates.find((entry) => entry.t === x);
    return update ? `run ${update.turn}, ${DECISION_LABEL[update.status]}` : null;
  };
  const shared = { xLabel: "step", format: (value: number | null) => figure(value), sync: "nano-tx", height: 170, log: true, marks, bands, tell, onPoint: point };
  const pick = (t: number) => put({ t: String(t) });
  return (
    <>
      <section className={css.outcomes} aria-label="Outcomes">
        <div className={css.bar} aria-hidden="true">
          {shares(data.updates).map(({ decision, share }) => share > 0 && <i key={decision} data-decision={decision} style={{ flexGrow: share }} />)}
        </div>
        <ul>
          {shares(data.updates).map(({ decision, count, share }) => (
            <li key={decision} data-share={decision}>
              <DecisionMark decision={decision} count={count} /> <span>{percent(share, 1)}</span>
            </li>
          ))}
          <li className="muted">
            of {plural(data.total, "write")} in {plural(session.runs.length, "run")}
          </li>
        </ul>
      </section>
      <Timeline updates={data.updates} runs={session.runs} picked={picked} onPick={pick} />
      <div className={css.charts}>
        <Chart title="Gradient" unit="L2 norm" curves={gradient} onPick={pick} {...shared} />
        <Chart title="Error on the replayed steps" unit="MSE" curves={errors} onPick={pick} {...shared} />
        <Chart title="Update" unit="L2 norm" sparse={data.total < 150} curves={written} onPick={pick} {...shared} />
      </div>
      {data.grad_cap !== null && (
        <p className={css.note}>
          <Swatch slot={1} /> The cap is {figure(data.grad_cap)}: a longer gradient blocks the write.
        </p>
      )}
      <TransactionLog updates={data.updates} picked={picked} onPick={(t) => put({ t: t === null ? null : String(t) })} />
    </>
  );
}
