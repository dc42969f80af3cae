import type { RedteamReport } from "../../api/types";
import { fixed, signed, whole } from "../../lib/format";
import { defenceName, distinct } from "../../lib/redteam";
import { Bar, Part, Wide } from "../../ui/Part";

/** What learning is kept: bits per byte gained on benign text, under each of the policies of the ablation. */
export function Utility({ rows }: { rows: RedteamReport["utility"] }) {
  const texts = distinct(rows.map((row) => row.text));
  const most = Math.max(1e-9, ...rows.map((row) => row.gained));
  return (
    <Part
      title="Utility kept"
      about="Bits per byte gained on the first 2 000 characters of benign texts: frozen minus guarded learning, higher is better. A bar is drawn against the largest gain of the table."
    >
      <Wide label="Utility">
        <thead>
          <tr>
            <th scope="col">Defences</th>
            {texts.map((text) => (
              <th scope="col" key={text}>
                {text}, frozen {fixed(rows.find((row) => row.text === text)?.bits_per_byte_frozen)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {distinct(rows.map((row) => row.off)).map((off) => (
            <tr key={off} data-utility={off}>
              <th scope="row">{defenceName(off)}</th>
              {texts.map((text) => {
                const row = rows.find((entry) => entry.off === off && entry.text === text);
                return (
                  <td key={text}>
                    {row && (
                      <>
                        <Bar share={row.gained / most} text={signed(row.gained)} />
                        <small>{`${whole(row.refused)} of ${whole(row.chunks)} chunks refused`}</small>
                      </>
                    )}
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
