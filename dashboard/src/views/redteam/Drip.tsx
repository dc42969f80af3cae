import { Fragment } from "react";
import type { RedteamReport } from "../../api/types";
import { figure, fixed, whole } from "../../lib/format";
import { OutcomeMark } from "../../ui/Status";
import { Part, Wide } from "../../ui/Part";
import classes from "./Redteam.module.css";

/** The payload of the search without any defence, again and again: with the guard, and without. */
export function Drip({ rows }: { rows: RedteamReport["drip"] }) {
  if (rows.length === 0) return null;
  return (
    <Part
      title="Drip: one payload, again and again"
      about="The 32 words that a search without any defence found, sent as one chunk each time. Drift is the most that a canary ever stood above its initial loss."
    >
      <Wide label="Drip">
        <thead>
          <tr>
            <th scope="col">Seed and words</th>
            <th scope="col">Guard</th>
            <th scope="col">Outcome</th>
            <th scope="col" data-num>Repeats</th>
            <th scope="col" data-num>Refused</th>
            <th scope="col" data-num>First refusal</th>
            <th scope="col" data-num>Drift (nats)</th>
            <th scope="col" data-num>Held-out rise</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <Fragment key={row.seed}>
              {[row.guarded, row.undefended].map((side, i) => (
                <tr key={i} data-drip={i ? "undefended" : "guarded"}>
                  {i === 0 && (
                    <th scope="rowgroup" rowSpan={2} className={classes.payload}>
                      <details>
                        <summary>
                          Seed {row.seed}: {row.words.slice(0, 6).join(" ")} …
                        </summary>
                        <code>{row.words.join(" ")}</code>
                      </details>
                      <small>{`one of them alone: ${fixed(row.rise_of_one, 4)} nats`}</small>
                    </th>
                  )}
                  <td>{i ? "none" : side.policy}</td>
                  <td>
                    <OutcomeMark outcome={side.harm_at !== null ? "succeeded" : side.refused > 0 ? "stopped" : "failed"}>
                      {side.harm_at !== null ? `harm at chunk ${side.harm_at}` : side.refused > 0 ? "refused" : "no harm"}
                    </OutcomeMark>
                  </td>
                  <td data-num>{whole(side.chunks)}</td>
                  <td data-num>{whole(side.refused)}</td>
                  <td data-num>{side.first_refusal === null ? "never" : `chunk ${side.first_refusal}`}</td>
                  <td data-num>{figure(side.harm_max)}</td>
                  <td data-num>{figure(side.heldout)}</td>
                </tr>
              ))}
            </Fragment>
          ))}
        </tbody>
      </Wide>
    </Part>
  );
}
