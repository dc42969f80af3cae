import type { ChunkEvent, CheckResult } from "../api/types";
import { figure, fixed, plural, signed } from "../lib/format";
import classes from "./ChunkDetail.module.css";

/** One chunk's reasons, canary losses and checks. */
export function ChunkDetail({ event }: { event: ChunkEvent }) {
  return (
    <div className={classes.inner}>
      <p>
        Tokens {event.token_start} to {event.token_end}, {plural(event.step, "write")} committed so far.
        {event.grad_canary_cos !== null &&
          ` Cosine of its gradient to the canaries': ${signed(event.grad_canary_cos, 2)} (below zero: learning it raises their loss).`}{" "}
        Sum of small canary rises (CUSUM): {fixed(event.cusum)} nats.
        {event.reasons.length > 0 && ` Reasons: ${event.reasons.join("; ")}.`}
      </p>
      {event.canaries.length > 0 && (
        <table>
          <caption>Canaries, nats per token</caption>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col" data-num>Before</th>
              <th scope="col" data-num>After</th>
              <th scope="col" data-num>Change</th>
              <th scope="col" data-num>Drift</th>
            </tr>
          </thead>
          <tbody>
            {event.canaries.map((canary) => (
              <tr key={canary.name}>
                <th scope="row">{canary.name}</th>
                <td data-num>{fixed(canary.before, 4)}</td>
                <td data-num>{fixed(canary.after, 4)}</td>
                <td data-num>{signed(canary.delta, 4)}</td>
                <td data-num>{signed(canary.drift, 4)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {event.checks.length > 0 && (
        <table>
          <caption>Checks</caption>
          <thead>
            <tr>
              <th scope="col">Check</th>
              <th scope="col">Stage</th>
              <th scope="col">Mode</th>
              <th scope="col">Verdict</th>
              <th scope="col">Figures</th>
            </tr>
          </thead>
          <tbody>
            {event.checks.map((check) => (
              <tr key={`${check.stage} ${check.check}`}>
                <th scope="row">{check.check}</th>
                <td>{check.stage}</td>
                <td>{check.mode}</td>
                <td>{verdict(check)}</td>
                <td className={classes.wrap}>
                  {Object.entries(check.numbers)
                    .map(([name, value]) => `${name} ${figure(value)}`)
                    .join(", ")}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function verdict(check: CheckResult): string {
  if (check.ok) return "✓ passed";
  return check.mode === "enforce" ? "✕ refused" : "△ would refuse";
}
