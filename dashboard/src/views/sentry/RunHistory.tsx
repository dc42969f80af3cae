import { Link } from "wouter";
import type { MonitorRun } from "../../api/types";
import { ago, bytes, clock, count, fixed, signed, whole } from "../../lib/format";
import { relaxed } from "../../lib/monitor";
import { JobMark } from "../../ui/Status";
import { useNow } from "../../ui/useNow";
import table from "../../ui/Table.module.css";
import classes from "./RunHistory.module.css";

interface Props {
  runs: MonitorRun[];
  current: MonitorRun | null;
  other: string | null;
}

/** Every run of this store, those of the command line too; the name opens it, the second column lays it over the open one. */
export function RunHistory({ runs, current, other }: Props) {
  const now = useNow(30_000);
  return (
    <div className={table.scroll} tabIndex={0} role="region" aria-label="Runs">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Run</th>
            {current && <th scope="col">Compare</th>}
            <th scope="col">State</th>
            <th scope="col">Input</th>
            <th scope="col">Model</th>
            <th scope="col">Policy</th>
            <th scope="col" className={table.right}>Chunks</th>
            <th scope="col" className={table.right}>Blocked</th>
            <th scope="col" className={table.right}>Rolled back</th>
            <th scope="col" className={table.right}>Flagged</th>
            <th scope="col" className={table.right}>Loss</th>
            <th scope="col" className={table.right}>Drift</th>
            <th scope="col" className={table.right}>Tokens per CPU s</th>
            <th scope="col" className={table.right}>Started</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => {
            const sum = run.summary;
            const loose = relaxed(run.request);
            const here = run.run_id === current?.run_id;
            const same = current && !here && run.input_sha256 !== null && run.input_sha256 === current.input_sha256;
            return (
              <tr key={run.run_id} data-focus={here || undefined} data-run={run.run_id}>
                <th scope="row">
                  <Link href={`/sentry/${run.run_id}`} className={table.name} aria-current={here ? "page" : undefined}>
                    {run.run_id}
                  </Link>
                </th>
                {current && (
                  <td>
                    {here ? (
                      <span className="muted">{other ? "A" : "open"}</span>
                    ) : (
                      <Link
                        href={run.run_id === other ? `/sentry/${current.run_id}` : `/sentry/${current.run_id}?with=${run.run_id}`}
                        className={classes.compare}
                      >
                        {run.run_id === other ? "take away" : same ? "same input" : "compare"}
                        <span className="visually-hidden"> {run.run_id}</span>
                      </Link>
                    )}
                  </td>
                )}
                <td>
                  <JobMark status={run.status} />
                </td>
                <td className={table.clip} title={run.source}>
                  {run.source} {run.input_bytes > 0 && <span className="muted">{bytes(run.input_bytes)}</span>}
                </td>
                <td>{run.request.model}</td>
                <td className={table.clip} title={loose.join(", ") || "all rules enforced"}>
                  {[
                    run.request.policy?.name,
                    !run.request.updates && "no writes",
                    loose.length > 2 ? `${loose.length} relaxed` : loose.join(", "),
                  ]
                    .filter(Boolean)
                    .join(", ")}
                </td>
                <td className={table.right}>{whole(sum?.chunks)}</td>
                <td className={table.right}>{whole(sum?.blocked)}</td>
                <td className={table.right}>{whole(sum?.rolled_back)}</td>
                <td className={table.right}>{whole(sum?.flagged)}</td>
                <td className={table.right}>{fixed(sum?.loss_mean)}</td>
                <td className={table.right}>{signed(sum?.drift, 4)}</td>
                <td className={table.right}>{count(sum?.tokens_per_cpu_second)}</td>
                <td className={table.right} title={clock(run.created_at)}>
                  {ago(run.created_at, now)}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
