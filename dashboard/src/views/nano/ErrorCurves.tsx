import { Checkbox } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useMemo } from "react";
import type { NanoRows, NanoSessionDetail, NanoTransaction } from "../../api/types";
import { DECISION_LABEL } from "../../lib/events";
import { figure, plural } from "../../lib/format";
import { type ErrorColumn, meansOf, runAt, stepsPerPoint, updateMarks } from "../../lib/nano";
import { Chart, type RunCurve } from "../../ui/Chart";
import { DecisionMark } from "../../ui/Status";
import { Swatch } from "../../ui/Swatch";
import { mark } from "../../ui/useMarked";
import { useLive } from "./live";
import classes from "./Nano.module.css";
import type { Steps } from "./useNano";
import { useBands } from "./useBands";

interface Line {
  column: ErrorColumn;
  name: string;
  slot: number;
  /** Drawn only where asked for. */
  extra?: boolean;
}

const LINES: readonly Line[] = [
  { column: "baseline_mse", name: "base, no updates", slot: 1 },
  { column: "session_frozen_mse", name: "session, no updates", slot: 2 },
  { column: "adaptive_mse", name: "session, with updates", slot: 0 },
  { column: "mean_mu_mse", name: "simulator, mean μ", slot: 3, extra: true },
  { column: "oracle_mse", name: "simulator, true μ", slot: 5, extra: true },
];

const NONE: readonly NanoTransaction[] = [];

interface Props {
  session: NanoSessionDetail;
  steps: Steps;
  writes: readonly NanoTransaction[] | undefined;
}

/** The comparable curves over one trajectory, every write marked; a run that is under way grows at their end. */
export function ErrorCurves({ session, steps, writes = NONE }: Props) {
  const { rows, runs, loading } = steps;
  const live = useLive();
  const [kept, setChosen] = useLocalStorage<string[]>({ key: "fastweights-nano-curves", defaultValue: [] });
  const chosen = Array.isArray(kept) ? kept : [];
  const going = live.run?.session === session.session_id ? live.run : null;
  const { curves, marks, every } = useMemo(() => {
    const now = going ? joined(going.rows) : [];
    const first = runs[0]?.from_step ?? 0;
    const updates = [...writes.filter((write) => write.t > first), ...(going?.updates ?? [])];
    const every = stepsPerPoint(rows.reduce((sum, piece) => sum + piece.t.length, going?.steps ?? 0));
    const made = LINES.filter((line) => !line.extra || chosen.includes(line.column)).map(
      (line): RunCurve => ({ id: line.name, slot: line.slot, ...meansOf([...rows, ...now], line.column, every) }),
    );
    return { curves: made, marks: updateMarks(updates), every };
  }, [rows, runs, writes, going, chosen.join()]);
  const bands = useBands(runs);
  const tell = useMemo(() => {
    const writes = new Map(marks.map((entry) => [entry.x, entry.decision]));
    return (x: number) => {
      const run = runAt(runs, x);
      const write = writes.get(x);
      return [run && `run ${run.turn}`, write && DECISION_LABEL[write]].filter(Boolean).join(", ") || null;
    };
  }, [marks, runs]);
  const missing = session.runs.length - runs.length;
  return (
    <section className={classes.curves} aria-label="Errors" data-runs={rows.length}>
      <div className={classes.legend}>
        {LINES.filter((line) => !line.extra).map((line) => (
          <span key={line.column}>
            <Swatch slot={line.slot} /> {line.name}
          </span>
        ))}
        <Checkbox.Group aria-label="More curves" value={chosen} onChange={setChosen}>
          <div className={classes.choices}>
            {LINES.filter((line) => line.extra).map((line) => (
              <Checkbox
                key={line.column}
                value={line.column}
                label={
                  <span className={classes.choice}>
                    {chosen.includes(line.column) && <Swatch slot={line.slot} />} {line.name}
                  </span>
                }
              />
            ))}
          </div>
        </Checkbox.Group>
      </div>
      <Chart
        title="Prediction error"
        unit={every > 1 ? `MSE, mean of ${every} steps` : "MSE"}
        xLabel="step"
        curves={curves}
        format={(value) => figure(value)}
        sync="nano"
        height={270}
        log
        marks={marks}
        bands={bands}
        tell={tell}
        onPoint={(x) => mark(x === null ? null : (runAt(runs, x)?.commit ?? null))}
      />
      <div className={classes.key}>
        <span className={classes.tick}>
          <i aria-hidden="true" /> a committed write
        </span>
        <DecisionMark decision="blocked" />
        <DecisionMark decision="rolled_back" />
        {missing > 0 && <span>{`The first ${plural(missing, "run")} of ${session.runs.length} are not drawn.`}</span>}
        {loading && <span role="status">Reading the steps …</span>}
      </div>
    </section>
  );
}

/** Blocks of a run that is under way as one piece. */
function joined(rows: readonly NanoRows[]): NanoRows[] {
  const [first] = rows;
  if (!first) return [];
  const all = { ...first };
  for (const name of ["t", ...LINES.map((line) => line.column)] as const) (all[name] as unknown[]) = rows.flatMap((row) => row[name] as unknown[]);
  return [all];
}
