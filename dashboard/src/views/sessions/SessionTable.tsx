import { Button, Checkbox } from "@mantine/core";
import { useState } from "react";
import { ago, bytes, clock, MISSING, signedFigure, whole } from "../../lib/format";
import { SLOTS } from "../../lib/runs";
import { type Column, DRIFT_UNIT, nextOrder, type Order, type SessionRow, sortRows } from "../../lib/sessionRows";
import { Swatch } from "../../ui/Swatch";
import table from "../../ui/Table.module.css";
import { useNow } from "../../ui/useNow";
import { KindBadge } from "./KindBadge";

const COLUMNS: [Column, string, boolean][] = [
  ["id", "Session", false],
  ["kind", "Kind", false],
  ["model", "Model", false],
  ["parent", "Forked from", false],
  ["turns", "Turns", true],
  ["drift", "Drift", true],
  ["bytes", "State", true],
  ["updatedAt", "Last used", true],
];
const PAGE = 100;

interface Props {
  rows: SessionRow[];
  /** Keys of the sessions that the charts show, by slot. */
  slots: (string | null)[];
  current: string | null;
  onToggle: (key: string) => void;
  onShow: (row: SessionRow) => void;
}

/** Every session that passes the filter; the box overlays it in the charts, the name shows its head in the tree. */
export function SessionTable({ rows, slots, current, onToggle, onShow }: Props) {
  const [order, setOrder] = useState<Order>({ by: "updatedAt", down: true });
  const [most, setMost] = useState(PAGE);
  const now = useNow(30_000);
  const full = slots.length >= SLOTS && !slots.includes(null);
  const sorted = sortRows(rows, order);
  return (
    <div>
      <div className={table.scroll} tabIndex={0} role="region" aria-label="Sessions">
        <table className={table.table}>
          <thead>
            <tr>
              <th scope="col">Show</th>
              {COLUMNS.map(([column, label, right]) => (
                <th
                  key={column}
                  scope="col"
                  className={right ? table.right : undefined}
                  aria-sort={order.by === column ? (order.down ? "descending" : "ascending") : undefined}
                >
                  <button type="button" className={table.sort} onClick={() => setOrder(nextOrder(order, column))}>
                    {label}
                    {order.by === column && <span aria-hidden="true">{order.down ? " ↓" : " ↑"}</span>}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, most).map((row) => {
              const slot = slots.indexOf(row.key);
              return (
                <tr key={row.key} data-session={row.id} data-focus={row.key === current || undefined}>
                  <td>
                    <span className={table.show}>
                      <Checkbox
                        checked={slot >= 0}
                        disabled={slot < 0 && full}
                        onChange={() => onToggle(row.key)}
                        aria-label={`Show ${row.id} in the charts`}
                      />
                      {slot >= 0 && <Swatch slot={slot} />}
                    </span>
                  </td>
                  <th scope="row">
                    <button type="button" className={table.name} onClick={() => onShow(row)} title={row.title || row.id}>
                      {row.id}
                    </button>
                  </th>
                  <td>
                    <KindBadge kind={row.kind} />
                  </td>
                  <td className={table.clip}>{row.model}</td>
                  <td className={table.clip}>{row.parent ?? "–"}</td>
                  <td className={table.right}>{whole(row.turns)}</td>
                  <td className={table.right}>{row.drift === null ? MISSING : `${signedFigure(row.drift)} ${DRIFT_UNIT[row.kind]}`}</td>
                  <td className={table.right}>{bytes(row.bytes)}</td>
                  <td className={table.right} title={clock(row.updatedAt)}>
                    {ago(row.updatedAt, now)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {sorted.length > most && (
        <Button variant="default" size="xs" mt="xs" onClick={() => setMost(most + 5 * PAGE)}>
          Show more: {whole(sorted.length - most)} of {whole(sorted.length)} are not listed
        </Button>
      )}
    </div>
  );
}
