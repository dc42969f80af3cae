import type { ReactNode } from "react";
import { count, fixed, plural, signed, whole } from "../../lib/format";
import { aligned, decisionDifferences, optionDifferences, optionName, tally, told } from "../../lib/monitor";
import { DecisionMark } from "../../ui/Status";
import classes from "./Comparison.module.css";
import type { Reading } from "./reading";

const MOST = 100;

/** Two runs side by side: what was asked of each, their figures, and the chunks on which they decided differently. */
export function Comparison({ a, b, onPick }: { a: Reading; b: Reading; onPick: (chunk: number) => void }) {
  const [x, y] = [a.summary ?? tally(a.events), b.summary ?? tally(b.events)];
  const options = a.request && b.request ? optionDifferences(a.request, b.request) : [];
  const sameInput = a.run && b.run ? a.run.input_sha256 === b.run.input_sha256 : true;
  const together = aligned(a.events, b.events);
  const found = together ? decisionDifferences(a.events, b.events) : [];
  const change = (left: number | null | undefined, right: number | null | undefined, decimals: number) =>
    left === null || left === undefined || right === null || right === undefined ? "–" : signed(right - left, decimals);
  const rows: [string, ReactNode, ReactNode, string][] = [
    ["Chunks", whole(x.chunks), whole(y.chunks), change(x.chunks, y.chunks, 0)],
    ["Committed", whole(x.committed), whole(y.committed), change(x.committed, y.committed, 0)],
    ["Blocked", whole(x.blocked), whole(y.blocked), change(x.blocked, y.blocked, 0)],
    ["Rolled back", whole(x.rolled_back), whole(y.rolled_back), change(x.rolled_back, y.rolled_back, 0)],
    ["Flagged", whole(x.flagged), whole(y.flagged), change(x.flagged, y.flagged, 0)],
    ["Mean loss (nats)", fixed(x.loss_mean), fixed(y.loss_mean), change(x.loss_mean, y.loss_mean, 3)],
    ["Drift (nats)", signed(x.drift, 4), signed(y.drift, 4), change(x.drift, y.drift, 4)],
    ["Tokens per CPU second", count(a.summary?.tokens_per_cpu_second), count(b.summary?.tokens_per_cpu_second), ""],
  ];
  return (
    <section className={classes.panel} aria-label="Comparison">
      <div className={classes.tables}>
        <table>
          <caption>Figures</caption>
          <thead>
            <tr>
              <td />
              <th scope="col">A</th>
              <th scope="col">B</th>
              <th scope="col">B − A</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, left, right, change]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td data-num>{left}</td>
                <td data-num>{right}</td>
                <td data-num>{change}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {options.length > 0 && (
          <table>
            <caption>What was asked of them</caption>
            <thead>
              <tr>
                <th scope="col">Option</th>
                <th scope="col">A</th>
                <th scope="col">B</th>
              </tr>
            </thead>
            <tbody>
              {options.map((option) => (
                <tr key={option.path}>
                  <th scope="row">{optionName(option.path)}</th>
                  <td>{option.a}</td>
                  <td>{option.b}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </div>
      <h3>
        {together
          ? found.length === 0
            ? "The same decision on every chunk that both have read"
            : `Another decision on ${plural(found.length, "chunk")}`
          : "The chunks do not hold the same text: curves are laid by token, decisions are not compared"}
      </h3>
      {!sameInput && together && <p className="muted">The inputs are not the same, though these chunks are.</p>}
      {found.length > 0 && (
        <div className={classes.scroll} tabIndex={0} role="region" aria-label="Chunks decided differently">
          <table className={classes.differences}>
            <thead>
              <tr>
                <th scope="col">Chunk</th>
                <th scope="col">A</th>
                <th scope="col">B</th>
                <th scope="col">Text and reasons</th>
              </tr>
            </thead>
            <tbody>
              {found.slice(0, MOST).map((entry) => (
                <tr key={entry.chunk} data-difference={entry.chunk}>
                  <th scope="row">
                    <button type="button" onClick={() => onPick(entry.chunk)} aria-label={`Show chunk ${entry.chunk} in the log`}>
                      {entry.chunk}
                    </button>
                  </th>
                  <td>
                    <DecisionMark decision={entry.a.decision} />
                  </td>
                  <td>
                    <DecisionMark decision={entry.b.decision} />
                  </td>
                  <td className={classes.text}>
                    <span className="muted">{entry.a.chunk_preview}</span>
                    {[...new Set([...told(entry.a).refusals, ...told(entry.b).refusals])].map((reason) => (
                      <span key={reason}>{reason}</span>
                    ))}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {found.length > MOST && <p className="muted">The first {MOST} are listed.</p>}
        </div>
      )}
    </section>
  );
}
