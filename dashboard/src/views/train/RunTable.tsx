import { Checkbox } from "@mantine/core";
import { useNow } from "../../ui/useNow";
import { ago, clock, count, duration, fixed, whole } from "../../lib/format";
import { heldOutUnit, type Run } from "../../lib/runs";
import { JobMark } from "../../ui/Status";
import { Swatch } from "../../ui/Swatch";
import classes from "../../ui/Table.module.css";

interface Props {
  runs: Run[];
  slots: (string | null)[];
  focus: string | null;
  onToggle: (id: string) => void;
  onFocus: (id: string) => void;
}

/** Every run of this store; the box overlays it in the charts, the name shows its state above. */
export function RunTable({ runs, slots, focus, onToggle, onFocus }: Props) {
  const now = useNow(30_000);
  const full = slots.length >= 6 && !slots.includes(null);
  return (
    <div className={classes.scroll} tabIndex={0} role="region" aria-label="Runs">
      <table className={classes.table}>
        <thead>
          <tr>
            <th scope="col">Show</th>
            <th scope="col">Run</th>
            <th scope="col">State</th>
            <th scope="col">Preset</th>
            <th scope="col">Corpus</th>
            <th scope="col" className={classes.right}>Seed</th>
            <th scope="col" className={classes.right}>Parameters</th>
            <th scope="col" className={classes.right}>Step</th>
            <th scope="col" className={classes.right}>Loss</th>
            <th scope="col" className={classes.right}>Held-out bits</th>
            <th scope="col" className={classes.right}>CPU time</th>
            <th scope="col" className={classes.right}>Started</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => {
            const slot = slots.indexOf(run.id);
            return (
              <tr key={run.id} data-focus={run.id === focus || undefined} data-run={run.id}>
                <td>
                  <span className={classes.show}>
                    <Checkbox
                      checked={slot >= 0}
                      disabled={slot < 0 && full}
                      onChange={() => onToggle(run.id)}
                      aria-label={`Show ${run.id} in the charts`}
                    />
                    {slot >= 0 && <Swatch slot={slot} />}
                  </span>
                </td>
                <th scope="row">
                  <button type="button" className={classes.name} onClick={() => onFocus(run.id)} title={run.id}>
                    {run.id}
                  </button>
                </th>
                <td>
                  <JobMark status={run.status} />
                </td>
                <td>{run.preset ?? "–"}</td>
                <td className={classes.clip} title={run.corpus ?? undefined}>{run.corpus ?? "–"}</td>
                <td className={classes.right}>{run.seed ?? "–"}</td>
                <td className={classes.right}>{count(run.params)}</td>
                <td className={classes.right}>
                  {whole(run.step)} <span className="muted">of {whole(run.steps)}</span>
                </td>
                <td className={classes.right}>{fixed(run.last?.loss)}</td>
                <td className={classes.right} title={heldOutUnit(run)}>
                  {fixed(run.valBpb)} {run.valBpb !== null && run.corpus === "kv" && <span className="muted">an answer</span>}
                </td>
                <td className={classes.right}>{duration(run.last?.cpu_seconds)}</td>
                <td className={classes.right} title={clock(run.createdAt)}>
                  {ago(run.createdAt, now)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
