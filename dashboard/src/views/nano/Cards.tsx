import type { NanoSessionRun } from "../../api/types";
import { figure, percent, plural, signedFigure, whole } from "../../lib/format";
import { factor } from "../../lib/nano";
import { nameOf } from "../../lib/tree";
import { DecisionMark } from "../../ui/Status";
import { useMarked } from "../../ui/useMarked";
import classes from "./Nano.module.css";
import type { NanoView } from "./useNano";

/** The figures of the commit that is pointed at, else of the one on show. A commit that is no run stands for the run before it. */
export function Cards({ view }: { view: NanoView }) {
  const marked = useMarked();
  const { session, line, at } = view;
  const commit = line.find((entry) => entry.commit === marked) ?? at;
  const runs = new Map(session.runs.map((run) => [run.commit, run]));
  const before = line.slice(0, line.indexOf(commit) + 1);
  const run = before.map((entry) => runs.get(entry.commit)).findLast((found) => found !== undefined);
  const budget = session.options.learning.policy.drift.budget;
  const drift = commit.drift ?? run?.drift ?? null;
  return (
    <dl className={classes.cards} aria-label={`Figures at ${nameOf(commit)}`} data-cards={commit.commit}>
      <Card name="Error with updates" value={figure(run?.adaptive_mse)} unit="MSE" about={against(run)} lead />
      <Card name="Error of the base" value={figure(run?.baseline_mse)} unit="MSE" about={run ? `over ${plural(run.steps, "step")}` : "no run yet"} />
      <Card
        name="Error of the session, frozen"
        value={figure(run?.session_frozen_mse)}
        unit="MSE"
        about={run ? "the weights that the run began with" : "no run yet"}
      />
      <Card
        name={`Last ${Math.min(100, run?.steps ?? 100)} steps`}
        value={figure(run?.last_100_adaptive_mse)}
        unit="MSE"
        about={run ? `base ${figure(run.last_100_baseline_mse)}` : "no run yet"}
      />
      <div>
        <dt>Writes of {run ? `run ${run.turn}` : "the run"}</dt>
        <dd className={classes.outcomes}>
          <DecisionMark decision="committed" count={run?.committed ?? 0} />
          <DecisionMark decision="blocked" count={run?.blocked ?? 0} />
          <DecisionMark decision="rolled_back" count={run?.rolled_back ?? 0} />
        </dd>
      </div>
      <Card name="Drift" value={signedFigure(drift)} unit="MSE" about={drift === null ? "" : `${percent(Math.max(0, drift) / budget, 1)} of the budget of ${figure(budget)}`} />
      <Card name="Hidden friction μ" value={figure(session.mu)} about={`${whole(session.step)} steps read, ${plural(session.writes, "write")}`} />
    </dl>
  );
}

function against(run: NanoSessionRun | undefined): string {
  if (!run) return "no run yet";
  const times = factor(run.baseline_mse, run.adaptive_mse);
  if (times === null) return `run ${run.turn}`;
  return times >= 1 ? `${figure(times)} times smaller than the base's` : `${figure(1 / times)} times the base's`;
}

function Card({ name, value, unit, about, lead }: { name: string; value: string; unit?: string; about: string; lead?: boolean }) {
  return (
    <div data-lead={lead}>
      <dt>{name}</dt>
      <dd>
        {value} {unit && <small>{unit}</small>}
      </dd>
      <dd className={classes.cardAbout}>{about}</dd>
    </div>
  );
}
