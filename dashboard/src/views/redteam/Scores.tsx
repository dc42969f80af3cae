import type { RedteamReport } from "../../api/types";
import { fixed, percent } from "../../lib/format";
import { detectionAt, distinct, familyName, scoreName } from "../../lib/redteam";
import { Part, Wide } from "../../ui/Part";
import { path, Plot } from "./Plot";
import classes from "./Redteam.module.css";

const ALARMS = 0.01;

/** How well each score of the guard tells attack chunks from control chunks. */
export function Scores({ aucs, rocs }: { aucs: RedteamReport["auc"]; rocs: RedteamReport["roc"] }) {
  const scores = distinct(aucs.map((row) => row.score));
  return (
    <Part
      title="Scores as detectors"
      about="Each score of the guard, attack chunks against control chunks. ROC over all families, with the share found at 1 % false alarms; the dotted line is chance. Below, the area under it (AUC) by family, with its 95 % interval: the tick is the value, the bar the interval, the middle line chance."
    >
      <div className={classes.plots}>
        {rocs.map((roc) => {
          const found = detectionAt(roc.false_alarms, roc.detections, ALARMS);
          const points = roc.false_alarms.map((x, i) => [x, roc.detections[i] ?? 0] as const);
          return (
            <Plot
              key={roc.score}
              square
              title={scoreName(roc.score)}
              reading={`finds ${percent(found)}`}
              label={`ROC of ${scoreName(roc.score)}: finds ${percent(found)} of attack chunks at ${percent(ALARMS)} false alarms`}
              x={[
                { at: 0, text: "0" },
                { at: 1, text: "100 % false alarms" },
              ]}
            >
              <path className={classes.chance} d="M0 0L100 100" />
              <path className={classes.curve} d={path([[0, 0], ...points, [1, 1]])} />
            </Plot>
          );
        })}
      </div>
      <Wide label="AUC by family">
        <thead>
          <tr>
            <th scope="col">Family</th>
            {scores.map((score) => (
              <th scope="col" key={score}>
                {scoreName(score)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {distinct(aucs.map((row) => row.family)).map((family) => (
            <tr key={family} data-auc={family}>
              <th scope="row">{familyName(family)}</th>
              {scores.map((score) => {
                const row = aucs.find((entry) => entry.family === family && entry.score === score);
                return (
                  <td key={score} title={row && `${row.positives} attack chunks, ${row.negatives} control chunks`}>
                    {row && <Area interval={row.auc} />}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </Wide>
    </Part>
  );
}

function Area({ interval }: { interval: RedteamReport["auc"][number]["auc"] }) {
  const { value, low, high } = interval;
  if (value === null) return <>not measured</>;
  const [from, to] = [low ?? value, high ?? value];
  return (
    <span className={classes.area}>
      <span className={classes.whisker} aria-hidden="true">
        <i style={{ left: `${100 * from}%`, width: `${100 * (to - from)}%` }} />
        <b style={{ left: `${100 * value}%` }} />
      </span>
      <span>{fixed(value, 2)}</span>
      <small>{`${fixed(low, 2)} – ${fixed(high, 2)}`}</small>
    </span>
  );
}
