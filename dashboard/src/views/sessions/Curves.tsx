import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { session } from "../../api/queries";
import { fullLog } from "../../api/sessionVerbs";
import type { CommitInfo } from "../../api/types";
import { lossOfTurns } from "../../lib/curves";
import { fixed, signed } from "../../lib/format";
import type { SessionRow } from "../../lib/sessionRows";
import { path } from "../../lib/tree";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Swatch } from "../../ui/Swatch";
import charts from "../train/Charts.module.css";

export interface ShownSession {
  row: SessionRow;
  slot: number;
}

const NO_LOG: CommitInfo[] = [];

/** Drift and loss from the initial state to each head, one curve a session. */
export function Curves({ shown }: { shown: ShownSession[] }) {
  const logs = useQueries({ queries: shown.map(({ row }) => fullLog(row)), combine: (results) => results.map((result) => result.data) });
  const text = useMemo(() => shown.filter(({ row }) => row.kind === "text"), [shown]);
  const details = useQueries({
    queries: text.map(({ row }) => ({ ...session(row.id), staleTime: 30_000 })),
    combine: (results) => results.map((result) => result.data),
  });
  const drift = useMemo(
    () =>
      shown.map(({ row, slot }, i): RunCurve => {
        const commits = path(logs[i] ?? NO_LOG);
        return { id: row.id, slot, x: commits.map((_, step) => step), y: commits.map((commit) => commit.drift) };
      }),
    [shown, logs],
  );
  const loss = useMemo(
    () =>
      text.map(({ row, slot }, i): RunCurve => {
        const commits = path(logs[shown.findIndex((entry) => entry.row.key === row.key)] ?? NO_LOG);
        const { x, y } = lossOfTurns(commits, details[i]?.turns ?? []);
        return { id: row.id, slot, x, y };
      }),
    [shown, text, logs, details],
  );
  return (
    <section aria-label="Curves" className={charts.section}>
      <ul className={charts.legend}>
        {shown.map(({ row, slot }) => (
          <li key={row.key}>
            <Swatch slot={slot} />
            <span>{row.id}</span>
          </li>
        ))}
      </ul>
      <div className={charts.grid}>
        <Chart title="Drift" unit="nats" xLabel="commit" sync="sessions" sparse curves={drift} format={(value) => signed(value, 4)} />
        {loss.length > 0 && (
          <Chart title="Loss before learning" unit="nats per token" xLabel="commit" sync="sessions" sparse curves={loss} format={(value) => fixed(value)} />
        )}
      </div>
    </section>
  );
}
