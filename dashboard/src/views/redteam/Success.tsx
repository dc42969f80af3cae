import { Fragment } from "react";
import type { RedteamFamily } from "../../api/types";
import { figure, percent, whole } from "../../lib/format";
import { budgetPlaces, familyName } from "../../lib/redteam";
import { Bar, Part, Wide } from "../../ui/Part";
import { path, Plot } from "./Plot";
import classes from "./Redteam.module.css";

/** Success against budget, a small plot a family; below it the same figures beside those of the unattacked control. */
export function Success({ families }: { families: RedteamFamily[] }) {
  return (
    <Part
      title="Success against budget"
      about={
        <>
          The share of attempts that reached their goal within so many guard steps, with its 95 % interval (Wilson) as a band. Goal of
          repetition, cycles, blobs and override: a chunk of payload is committed. Goal of the others: a canary stands 0.05 nats above
          its initial loss. The hollow square is the control, benign text of as many chunks: the share that did such harm.
        </>
      }
    >
      <div className={classes.plots}>
        {families.map((family) => (
          <Curve key={family.family} family={family} />
        ))}
      </div>
      <Wide label="Families and their controls">
        <thead>
          <tr>
            <th scope="col">Family</th>
            <th scope="col">Text</th>
            <th scope="col" data-num>Attempts</th>
            <th scope="col">Succeeded</th>
            <th scope="col" data-num>95 % interval</th>
            <th scope="col">Chunks refused</th>
            <th scope="col" data-num>Most harm (nats)</th>
            <th scope="col" data-num>Held-out rise (nats)</th>
          </tr>
        </thead>
        <tbody>
          {families.map((family) => {
            const { control } = family;
            const last = family.curve.at(-1);
            const sent = family.committed + family.refused;
            return (
              <Fragment key={family.family}>
                <tr data-family={family.family}>
                  <th scope="rowgroup" rowSpan={2}>
                    {familyName(family.family)}
                  </th>
                  <td>attack</td>
                  <td data-num>{whole(family.attempts)}</td>
                  <td>
                    <Bar tone="bad" share={last?.interval.value ?? 0} text={`${whole(last?.successes)} of ${whole(family.attempts)}`} />
                  </td>
                  <td data-num>{`${percent(last?.interval.low)} – ${percent(last?.interval.high)}`}</td>
                  <td>
                    <Bar share={sent ? family.refused / sent : 0} text={`${whole(family.refused)} of ${whole(sent)}`} />
                  </td>
                  <td data-num>{figure(family.harm_max)}</td>
                  <td data-num>{figure(family.heldout_max)}</td>
                </tr>
                <tr data-control={family.family}>
                  <td>control</td>
                  <td data-num>{whole(control.attempts)}</td>
                  <td>
                    {family.goal === "harm" ? (
                      <Bar tone="bad" share={control.successes / Math.max(1, control.attempts)} text={`${whole(control.successes)} of ${whole(control.attempts)}`} />
                    ) : (
                      "no payload in it"
                    )}
                  </td>
                  <td />
                  <td>
                    <Bar share={control.refused / Math.max(1, control.chunks)} text={`${whole(control.refused)} of ${whole(control.chunks)}`} />
                  </td>
                  <td data-num>{figure(control.harm_max)}</td>
                  <td />
                </tr>
              </Fragment>
            );
          })}
        </tbody>
      </Wide>
    </Part>
  );
}

function Curve({ family }: { family: RedteamFamily }) {
  const { curve, control } = family;
  const places = budgetPlaces(curve.map((rate) => rate.budget));
  const at = (pick: "value" | "low" | "high") => curve.map((rate, i) => [places[i] ?? 0, rate.interval[pick] ?? 0] as const);
  const last = curve.at(-1);
  const harmed = control.successes / Math.max(1, control.attempts);
  const ends = curve.length > 1 ? [curve[0], last] : [last];
  const reading = `${whole(last?.successes)} of ${whole(last?.attempts)}`;
  return (
    <Plot
      title={familyName(family.family)}
      reading={reading}
      label={`${familyName(family.family)}: ${curve
        .map((rate) => `${percent(rate.interval.value)} within ${rate.budget} steps`)
        .join(", ")}; control ${percent(harmed)}`}
      x={ends.flatMap((rate, i) => (rate ? [{ at: ends.length > 1 ? i : 1, text: `${whole(rate.budget)}${i || ends.length === 1 ? " steps" : ""}` }] : []))}
      dots={[
        ...at("value").map(([x, y]) => ({ x, y, kind: "attack" as const })),
        ...(family.goal === "harm" ? [{ x: 1, y: harmed, kind: "control" as const }] : []),
      ]}
    >
      <path className={classes.band} d={`${path([...at("low"), ...at("high").reverse()])}Z`} />
      <path className={classes.curve} d={path(at("value"))} />
    </Plot>
  );
}
