/** Sessions of every kind as one table: rows, filter, order. Pure. */

export type SessionKind = "text" | "nano";

export interface SessionRow {
  /** Unique over the kinds: a text and a Nano session may have one id. */
  key: string;
  kind: SessionKind;
  id: string;
  model: string;
  title: string;
  turns: number;
  head: string;
  parent: string | null;
  bytes: number | null;
  drift: number | null;
  createdAt: string;
  updatedAt: string;
}

/** What drift is measured in: the rise of the worst canary's loss since the start. */
export const DRIFT_UNIT: Record<SessionKind, string> = { text: "nats", nano: "MSE" };

/** What the lists of all kinds have in common. */
export interface Listed {
  session_id: string;
  model: string;
  title: string;
  n_turns: number;
  head: string;
  parent_session: string | null;
  state_bytes: number;
  drift: number | null;
  created_at: string;
  updated_at: string;
}

/** What `keyOf` makes. */
export const KEY = /^(text|nano):[a-z0-9][a-z0-9_-]{0,63}$/;

export const keyOf = (kind: SessionKind, id: string): string => `${kind}:${id}`;

export function toRow(kind: SessionKind, entry: Listed): SessionRow {
  return {
    key: keyOf(kind, entry.session_id),
    kind,
    id: entry.session_id,
    model: entry.model,
    title: entry.title,
    turns: entry.n_turns,
    head: entry.head,
    parent: entry.parent_session,
    bytes: entry.state_bytes,
    drift: entry.drift,
    createdAt: entry.created_at,
    updatedAt: entry.updated_at,
  };
}

/** Rows that hold every word of the filter in their id, title, model, kind or parent. */
export function filterRows(rows: readonly SessionRow[], filter: string): SessionRow[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const text = [row.id, row.title, row.model, row.kind, row.parent ?? ""].join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

export type Column = "id" | "kind" | "model" | "parent" | "turns" | "drift" | "bytes" | "updatedAt";

export interface Order {
  by: Column;
  down: boolean;
}

/** In that order; a missing value comes last either way, equal ones by last use. */
export function sortRows(rows: readonly SessionRow[], { by, down }: Order): SessionRow[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [a[by], b[by]];
    if (x !== y && (x === null || y === null)) return x === null ? 1 : -1;
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return sign * order || b.updatedAt.localeCompare(a.updatedAt);
  });
}

/** A click on a column's head: turns the order round, or begins with that column; figures and times from the largest. */
export function nextOrder(order: Order, by: Column): Order {
  if (order.by === by) return { by, down: !order.down };
  return { by, down: by === "turns" || by === "drift" || by === "bytes" || by === "updatedAt" };
}

/** The sessions to draw, last used first: as many as hold about `most` commits together, and at least one. */
export function drawn(rows: readonly SessionRow[], most: number): SessionRow[] {
  let commits = 0;
  const newest = sortRows(rows, { by: "updatedAt", down: true });
  const end = newest.findIndex((row, i) => {
    commits += row.turns + 1;
    return i > 0 && commits > most;
  });
  return end < 0 ? newest : newest.slice(0, end);
}
