import type { CommitInfo, NanoSessionRun } from "../../api/types";
import { ago, clock, duration, figure, signedFigure, whole } from "../../lib/format";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { DecisionMark } from "../../ui/Status";
import table from "../../ui/Table.module.css";
import { marks, useIsMarked } from "../../ui/useMarked";
import { useNow } from "../../ui/useNow";
import { Empty } from "../../ui/Empty";
import classes from "./Nano.module.css";
import { type NanoView, useChoice } from "./useNano";

/** The runs that the session's state has seen, the last one first. */
export function RunTable({ view }: { view: NanoView }) {
  const { session, at } = view;
  const [, put] = useChoice();
  const now = useNow(30_000);
  if (session.runs.length === 0) {
    return (
      <div className="panel">
        <Empty title="No run yet">
          Choose a number of steps above and press Run, or in a terminal
          <Line text={`fastweights nano session run ${session.session_id}`} />
        </Empty>
      </div>
    );
  }
  return (
    <section aria-label="Run history" className={page.section}>
      <h2>Run history</h2>
      <div className={table.scroll} tabIndex={0} role="region" aria-label="Table of runs">
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Run</th>
              <th scope="col">Steps</th>
              <th scope="col" className={table.right}>Base (MSE)</th>
              <th scope="col" className={table.right}>Session, frozen</th>
              <th scope="col" className={table.right}>With updates</th>
              <th scope="col" className={table.right}>Last 100</th>
              <th scope="col">Writes</th>
              <th scope="col" className={table.right}>Drift (MSE)</th>
              <th scope="col" className={table.right}>Time</th>
              <th scope="col" className={table.right}>Made</th>
            </tr>
          </thead>
          <tbody>
            {session.runs.toReversed().map((run) => (
              <Row key={run.run_id} run={run} at={at} now={now} onShow={() => put({ at: run.commit })} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Row({ run, at, now, onShow }: { run: NanoSessionRun; at: CommitInfo; now: number; onShow: () => void }) {
  const marked = useIsMarked(run.commit);
  const outcomes = (["committed", "blocked", "rolled_back"] as const).filter((name) => run[name] > 0);
  return (
    <tr className={classes.row} data-run={run.run_id} data-focus={run.commit === at.commit || undefined} data-marked={marked || undefined} {...marks(run.commit)}>
      <th scope="row">
        <button type="button" className={table.name} title={run.run_id} aria-current={run.commit === at.commit || undefined} onClick={onShow}>
          run {run.turn}
        </button>
      </th>
      <td>
        {whole(run.from_step)} to {whole(run.to_step)}
        {run.reverted && <span className="muted">, reverted</span>}
        {run.stopped === "cancelled" && <span className="muted">, stopped</span>}
      </td>
      <td className={table.right}>{figure(run.baseline_mse)}</td>
      <td className={table.right}>{figure(run.session_frozen_mse)}</td>
      <td className={table.right}>{figure(run.adaptive_mse)}</td>
      <td className={table.right}>{figure(run.last_100_adaptive_mse)}</td>
      <td>
        <span className={classes.outcomes}>
          {outcomes.length === 0 && "none"}
          {outcomes.map((name) => (
            <DecisionMark key={name} decision={name} count={run[name]} />
          ))}
        </span>
      </td>
      <td className={table.right}>{signedFigure(run.drift)}</td>
      <td className={table.right}>{duration(run.seconds)}</td>
      <td className={table.right} title={clock(run.created_at)}>
        {ago(run.created_at, now)}
      </td>
    </tr>
  );
}
