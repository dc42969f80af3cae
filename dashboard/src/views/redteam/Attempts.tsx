import type { RedteamAttempt, RedteamReport } from "../../api/types";
import { figure, plural, whole } from "../../lib/format";
import { distinct, familyName, outcome, outcomeWords } from "../../lib/redteam";
import { Fold } from "../../ui/Fold";
import { OutcomeMark } from "../../ui/Status";
import { Part, Wide } from "../../ui/Part";
import classes from "./Redteam.module.css";

/** Every payload that was sent, by family, with what came of it; those that the run kept as fixtures are marked. */
export function Attempts({ report }: { report: RedteamReport }) {
  const kept = new Map(report.payloads.map((payload) => [payload.text.slice(0, 400), payload]));
  return (
    <Part
      title="Payloads and their outcomes"
      about={
        <>
          The first 400 characters of each. {plural(report.payloads.length, "payload")} of this run {report.payloads.length === 1 ? "was" : "were"} kept
          whole as fixtures of the regression suite, in the run's folder under <code>payloads/</code>.
        </>
      }
    >
      {distinct(report.attempts.map((attempt) => attempt.family)).map((family, i) => {
        const own = report.attempts.filter((attempt) => attempt.family === family);
        const won = own.filter((attempt) => outcome(attempt) === "succeeded").length;
        const control = report.families.find((entry) => entry.family === family)?.control;
        const said = control && `control: ${whole(control.refused)} of ${plural(control.chunks, "chunk")} refused, harm ${figure(control.harm_max)} nats`;
        return (
          <Fold
            key={family}
            title={familyName(family)}
            about={[`${whole(won)} of ${whole(own.length)} succeeded`, said].filter(Boolean).join(" · ")}
            open={i === 0 || won > 0}
          >
            <Wide label={`Payloads: ${familyName(family)}`}>
              <thead>
                <tr>
                  <th scope="col">Outcome</th>
                  <th scope="col">Variant</th>
                  <th scope="col">Payload</th>
                  <th scope="col" data-num>Chunks refused</th>
                  <th scope="col" data-num>Harm (nats)</th>
                  <th scope="col" data-num>Held-out rise</th>
                  <th scope="col" data-num>Steps</th>
                  <th scope="col" data-num>Seed</th>
                </tr>
              </thead>
              <tbody>
                {own.map((attempt, n) => (
                  <Row key={n} attempt={attempt} kept={kept.get(attempt.payload)?.name} />
                ))}
              </tbody>
            </Wide>
          </Fold>
        );
      })}
    </Part>
  );
}

function Row({ attempt, kept }: { attempt: RedteamAttempt; kept?: string }) {
  return (
    <tr data-outcome={outcome(attempt)}>
      <td>
        <OutcomeMark outcome={outcome(attempt)}>{outcomeWords(attempt)}</OutcomeMark>
      </td>
      <th scope="row">{attempt.variant.replaceAll("_", " ")}</th>
      <td className={classes.payload}>
        <details>
          <summary>{attempt.payload.slice(0, 90)}</summary>
          <code>{attempt.payload}</code>
        </details>
        {kept && <small>kept as {kept}.json</small>}
      </td>
      <td data-num>{`${whole(attempt.refused)} of ${whole(attempt.chunks)}`}</td>
      <td data-num>{figure(attempt.harm)}</td>
      <td data-num>{figure(attempt.heldout)}</td>
      <td data-num>{whole(attempt.steps)}</td>
      <td data-num>{attempt.seed}</td>
    </tr>
  );
}
