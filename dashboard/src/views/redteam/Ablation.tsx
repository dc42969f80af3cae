import type { RedteamReport } from "../../api/types";
import { figure, whole } from "../../lib/format";
import { defenceName, distinct, familyName } from "../../lib/redteam";
import { Bar, Part, Wide } from "../../ui/Part";

/** The same attacks with one defence off. */
export function Ablation({ rows }: { rows: RedteamReport["ablation"] }) {
  const families = distinct(rows.map((row) => row.family));
  return (
    <Part
      title="Ablation: what each defence is worth"
      about="The same attacks with one defence off, the attacker adapting to what is left. Attempts that succeeded, and the most harm they did in nats. Below the first row with fewer seeds: half of them for the searches, one for the rest."
    >
      <Wide label="Ablation">
        <thead>
          <tr>
            <th scope="col">Defences</th>
            <th scope="col">All families</th>
            {families.map((family) => (
              <th scope="col" key={family}>
                {familyName(family)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {distinct(rows.map((row) => row.off)).map((off) => {
            const own = rows.filter((row) => row.off === off);
            const [won, tried] = [own.reduce((sum, row) => sum + row.successes, 0), own.reduce((sum, row) => sum + row.attempts, 0)];
            return (
              <tr key={off} data-off={off}>
                <th scope="row">{defenceName(off)}</th>
                <td>
                  <Bar tone="bad" share={tried ? won / tried : 0} text={`${whole(won)} of ${whole(tried)}`} />
                </td>
                {families.map((family) => {
                  const row = own.find((entry) => entry.family === family);
                  return (
                    <td key={family}>
                      {row && (
                        <>
                          <Bar tone="bad" share={row.successes / Math.max(1, row.attempts)} text={`${whole(row.successes)} of ${whole(row.attempts)}`} />
                          <small>{figure(row.harm_max, 2)} nats</small>
                        </>
                      )}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </Wide>
    </Part>
  );
}
