import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";
import { session } from "../../api/queries";
import { fullLog, nanoSession } from "../../api/sessionVerbs";
import type { CommitInfo } from "../../api/types";
import { errorOfRuns, lossOfTurns } from "../../lib/curves";
import { figure, fixed, signedFigure } from "../../lib/format";
import { DRIFT_UNIT, type SessionRow } from "../../lib/sessionRows";
import type { Curve } from "../../lib/series";
import { path } from "../../lib/tree";
import { Chart, type RunCurve } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Swatch } from "../../ui/Swatch";
import charts from "../train/Charts.module.css";

export interface ShownSession {
  row: SessionRow;
  slot: number;
}

const NO_LOG: CommitInfo[] = [];
const allData = <T,>(results: { data: T | undefined }[]): (T | undefined)[] => results.map((result) => result.data);

const driftUnit = (texts: number, nanos: number): string =>
  nanos === 0 ? DRIFT_UNIT.text : texts === 0 ? DRIFT_UNIT.nano : `text: ${DRIFT_UNIT.text}, Nano: ${DRIFT_UNIT.nano}`;

/** Drift and loss from the initial state to each head, one curve a session. */
export function Curves({ shown }: { shown: ShownSession[] }) {
  const logs = useQueries({ queries: shown.map(({ row }) => fullLog(row)), combine: allData });
  const text = useMemo(() => shown.filter(({ row }) => row.kind === "text"), [shown]);
  const nano = useMemo(() => shown.filter(({ row }) => row.kind === "nano"), [shown]);
  const turns = useQueries({ queries: text.map(({ row }) => session(row.id)), combine: allData });
  const runs = useQueries({ queries: nano.map(({ row }) => nanoSession(row.id)), combine: allData });
  const { drift, loss, error } = useMemo(() => {
    const paths = new Map(shown.map(({ row }, i) => [row.key, path(logs[i] ?? NO_LOG)]));
    const pathOf = ({ row }: ShownSession) => paths.get(row.key) ?? NO_LOG;
    const curve = (entry: ShownSession, points: Curve): RunCurve => ({ id: entry.row.id, slot: entry.slot, ...points });
    return {
      drift: shown.map((entry) => curve(entry, { x: pathOf(entry).map((_, step) => step), y: pathOf(entry).map((commit) => commit.drift) })),
      loss: text.map((entry, i) => curve(entry, lossOfTurns(pathOf(entry), turns[i]?.turns ?? []))),
      error: nano.map((entry, i) => curve(entry, errorOfRuns(pathOf(entry), runs[i]?.runs ?? []))),
    };
  }, [shown, text, nano, logs, turns, runs]);
  return (
    <section aria-label="Curves" className={page.section}>
      <ul className={charts.legend}>
        {shown.map(({ row, slot }) => (
          <li key={row.key}>
            <Swatch slot={slot} />
            <span>{row.id}</span>
          </li>
        ))}
      </ul>
      <div className={page.grid}>
        <Chart title="Drift" unit={driftUnit(text.length, nano.length)} xLabel="commit" sync="sessions" sparse curves={drift} format={signedFigure} />
        {loss.length > 0 && (
          <Chart title="Loss before learning" unit="nats per token" xLabel="commit" sync="sessions" sparse curves={loss} format={(value) => fixed(value)} />
        )}
        {error.length > 0 && (
          <Chart title="Error of each run" unit="MSE with updates" xLabel="commit" sync="sessions" sparse curves={error} format={(value) => figure(value)} />
        )}
      </div>
    </section>
  );
}
