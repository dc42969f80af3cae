import { Link } from "wouter";
import type { SleepCandidate } from "../../api/types";
import { ago, clock, figure, MISSING, percent, signed, signedFigure, whole } from "../../lib/format";
import { CandidateMark } from "../../ui/Status";
import table from "../../ui/Table.module.css";
import { useNow } from "../../ui/useNow";

/** Every candidate of this store, and the runs that left none. */
export function CandidateList({ rows, current }: { rows: SleepCandidate[]; current: string | null }) {
  const now = useNow(30_000);
  return (
    <div className={table.scroll} tabIndex={0} role="region" aria-label="Candidates">
      <table className={table.table}>
        <thead>
          <tr>
            <th scope="col">Candidate</th>
            <th scope="col">State</th>
            <th scope="col">Mode</th>
            <th scope="col">From</th>
            <th scope="col" className={table.right}>Sessions</th>
            <th scope="col" className={table.right}>Turns</th>
            <th scope="col" className={table.right}>Kept</th>
            <th scope="col" className={table.right}>Core, change</th>
            <th scope="col" className={table.right}>Made</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.model_id} data-focus={row.model_id === current || undefined} data-row={row.model_id}>
              <th scope="row">
                <Link href={`/sleep/${row.model_id}`} className={table.name} aria-current={row.model_id === current ? "page" : undefined}>
                  {row.model_id}
                </Link>
              </th>
              <td>
                <CandidateMark status={row.status} />
              </td>
              <td>{row.kind === "nano" ? "Nano" : row.mode}</td>
              <td className={table.clip}>{row.base_model_id ?? MISSING}</td>
              <td className={table.right}>{whole(row.sessions)}</td>
              <td className={table.right}>{whole(row.turns)}</td>
              <td className={table.right}>{percent(row.retention)}</td>
              <td className={table.right}>{changeOf(row)}</td>
              <td className={table.right} title={clock(row.created_at)}>
                {ago(row.created_at, now)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function changeOf(row: SleepCandidate): string {
  if (row.core_before === null || row.core_after === null) return figure(null);
  const change = row.core_after - row.core_before;
  return row.kind === "nano" ? signedFigure(change) : signed(change, 4);
}
