import { Button, SegmentedControl } from "@mantine/core";
import { useEffect, useMemo, useRef, useState } from "react";
import type { Decision, NanoTransaction } from "../../api/types";
import { figure, signedFigure, whole } from "../../lib/format";
import { nextTransactionOrder, sortTransactions, type TransactionColumn, type TransactionOrder } from "../../lib/nano";
import { Empty } from "../../ui/Empty";
import { DecisionMark } from "../../ui/Status";
import table from "../../ui/Table.module.css";
import { marks, useIsMarked } from "../../ui/useMarked";
import nano from "./Nano.module.css";
import css from "./Transactions.module.css";

const ROWS = 25;
type Filter = "all" | Decision;

const COLUMNS: [TransactionColumn, string, boolean][] = [
  ["t", "Step", true],
  ["turn", "Run", true],
  ["status", "Outcome", false],
  ["grad_norm", "Gradient", true],
  ["pre_loss", "Error before", true],
  ["post_loss", "Error after", true],
  ["update_norm", "Written", true],
  ["canary_delta", "Canary rise", true],
  ["drift", "Drift", true],
];

interface Props {
  updates: readonly NanoTransaction[];
  picked: number | null;
  onPick: (t: number | null) => void;
}

/** Every write with its figures; what did not come to stay says why in a sentence. */
export function TransactionLog({ updates, picked, onPick }: Props) {
  const [order, setOrder] = useState<TransactionOrder>({ by: "t", down: false });
  const [filter, setFilter] = useState<Filter>("all");
  const [turned, setPage] = useState(0);
  const body = useRef<HTMLTableSectionElement>(null);
  const found = useMemo(() => sortTransactions(filter === "all" ? updates : updates.filter((update) => update.status === filter), order), [updates, filter, order]);
  const pages = Math.max(1, Math.ceil(found.length / ROWS));
  const page = Math.min(turned, pages - 1);
  const rows = found.slice(page * ROWS, (page + 1) * ROWS);
  const count = (of: Filter) => whole(of === "all" ? updates.length : updates.filter((update) => update.status === of).length);

  // A write that was chosen in a chart is brought into view once.
  useEffect(() => {
    const at = found.findIndex((update) => update.t === picked);
    if (at < 0) return;
    setPage(Math.floor(at / ROWS));
    requestAnimationFrame(() => body.current?.querySelector(`[data-write="${picked}"]`)?.scrollIntoView({ block: "nearest" }));
  }, [picked]);

  return (
    <section aria-label="Transactions" className={css.log}>
      <div className={css.logHead}>
        <h2>Log</h2>
        <SegmentedControl
          aria-label="Which writes"
          value={filter}
          onChange={(next) => {
            setFilter(next as Filter);
            setPage(0);
          }}
          data={[
            { value: "all", label: `All ${count("all")}` },
            { value: "committed", label: `Committed ${count("committed")}` },
            { value: "blocked", label: `Blocked ${count("blocked")}` },
            { value: "rolled_back", label: `Rolled back ${count("rolled_back")}` },
          ]}
        />
        {pages > 1 && (
          <div className={css.pager}>
            <Button variant="default" size="compact-sm" disabled={page === 0} onClick={() => setPage(page - 1)}>
              Earlier
            </Button>
            <span className="num">
              {whole(page + 1)} of {whole(pages)}
            </span>
            <Button variant="default" size="compact-sm" disabled={page === pages - 1} onClick={() => setPage(page + 1)}>
              Later
            </Button>
          </div>
        )}
      </div>
      {rows.length === 0 ? (
        <div className="panel">
          <Empty title="No such write">None of them ended that way.</Empty>
        </div>
      ) : (
        <div className={table.scroll} tabIndex={0} role="region" aria-label="Table of transactions">
          <table className={table.table}>
            <thead>
              <tr>
                {COLUMNS.map(([column, label, right]) => (
                  <th
                    key={column}
                    scope="col"
                    className={right ? table.right : undefined}
                    aria-sort={order.by === column ? (order.down ? "descending" : "ascending") : undefined}
                  >
                    <button type="button" className={table.sort} onClick={() => setOrder(nextTransactionOrder(order, column))}>
                      {label}
                      {order.by === column && <span aria-hidden="true">{order.down ? " ↓" : " ↑"}</span>}
                    </button>
                  </th>
                ))}
                <th scope="col">What happened</th>
              </tr>
            </thead>
            <tbody ref={body}>
              {rows.map((update) => (
                <Row key={update.t} update={update} picked={update.t === picked} onPick={() => onPick(update.t === picked ? null : update.t)} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function Row({ update, picked, onPick }: { update: NanoTransaction; picked: boolean; onPick: () => void }) {
  const marked = useIsMarked(update.commit);
  return (
    <tr
      className={nano.row}
      data-write={update.t}
      data-status={update.status}
      data-focus={picked || undefined}
      data-marked={marked || undefined}
      {...marks(update.commit)}
    >
      <th scope="row" className={table.right}>
        <button type="button" className={table.name} aria-pressed={picked} aria-label={`Step ${update.t}: mark it in the charts`} onClick={onPick}>
          {whole(update.t)}
        </button>
      </th>
      <td className={table.right}>{update.turn}</td>
      <td>
        <DecisionMark decision={update.status} />
      </td>
      <td className={table.right}>{figure(update.grad_norm)}</td>
      <td className={table.right}>{figure(update.pre_loss)}</td>
      <td className={table.right}>{figure(update.post_loss)}</td>
      <td className={table.right}>{figure(update.update_norm)}</td>
      <td className={table.right}>{signedFigure(update.canary_delta)}</td>
      <td className={table.right}>{signedFigure(update.drift)}</td>
      <td className={css.sentence} data-sentence={update.status !== "committed" || undefined}>
        {update.sentence}
      </td>
    </tr>
  );
}
