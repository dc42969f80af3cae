import { Link } from "wouter";
import type { RedteamSummary } from "../../api/types";
import { ago, clock, whole } from "../../lib/format";
import { JobMark } from "../../ui/Status";
import table from "../../ui/Table.module.css";
import { useNow } from "../../ui/useNow";

/** Every run of this store, those of the command line too. */
export function RunList({ runs, current }: { runs: RedteamSummary[]; current: string | null }) {
  const now = useNow(30_000);
  return (
    <div className={table.scroll} tabIndex={0} role="region" aria-label="Runs">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">State</th>
            <th scope="col">Model</th>
            <th scope="col">Policy</th>
            <th scope="col" className={table.right}>Budget</th>
            <th scope="col" className={table.right}>Started</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.run_id} data-focus={run.run_id === current || undefined} data-run={run.run_id}>
              <th scope="row">
                <Link href={`/redteam/${run.run_id}`} className={table.name} aria-current={run.run_id === current ? "page" : undefined}>
                  {run.run_id}
                </Link>
              </th>
              <td>
                <JobMark status={run.status} />
              </td>
              <td>{run.model}</td>
              <td>{run.policy}</td>
              <td className={table.right}>{whole(run.budget)}</td>
              <td className={table.right} title={clock(run.created_at)}>
                {ago(run.created_at, now)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
