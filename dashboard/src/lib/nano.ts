/** Runs of a Nano session as curves, marks and a log of transactions. Pure. */
import type { Decision, NanoRows, NanoSession, NanoSessionRun, NanoTransaction, NanoUpdate } from "../api/types";
import type { ChartMark } from "./marks";
import type { Curve } from "./series";

/** Steps between two writes. */
export const CHUNK = 32;
const MOST_POINTS = 400;

export type ErrorColumn = "baseline_mse" | "session_frozen_mse" | "adaptive_mse" | "oracle_mse" | "mean_mu_mse";

/** Steps that one point of a curve stands for: those between two writes where there are enough, more on a long run. */
export function stepsPerPoint(steps: number): number {
  if (steps < 2 * CHUNK) return 1;
  let every = steps < 8 * CHUNK ? CHUNK / 4 : CHUNK;
  while (steps / every > MOST_POINTS) every *= 2;
  return every;
}

/** Mean of each block of steps, at its last step. A block with a value that was not finite has none. */
export function meansOf(pieces: readonly NanoRows[], column: ErrorColumn, every: number): Curve {
  const x: number[] = [];
  const y: (number | null)[] = [];
  let sum: number | null = 0;
  let n = 0;
  let last = 0;
  const close = () => {
    if (n > 0) {
      x.push(last);
      y.push(sum === null ? null : sum / n);
    }
    sum = 0;
    n = 0;
  };
  for (const piece of pieces) {
    piece.t.forEach((t, i) => {
      if (n > 0 && Math.floor((t - 1) / every) !== Math.floor((last - 1) / every)) close();
      const value = piece[column][i] ?? null;
      sum = sum === null || value === null ? null : sum + value;
      n += 1;
      last = t;
    });
    close(); // the frozen weights change with the run
  }
  return { x, y };
}

export const updateMarks = (updates: readonly Pick<NanoUpdate, "t" | "status">[]): ChartMark[] =>
  updates.map((update) => ({ x: update.t, decision: update.status, row: 0 }));

export const DECISIONS: readonly Decision[] = ["committed", "blocked", "rolled_back"];

export interface Share {
  decision: Decision;
  count: number;
  /** 0 to 1. */
  share: number;
}

/** How many writes ended how, also where none did. */
export function shares(updates: readonly Pick<NanoUpdate, "status">[]): Share[] {
  return DECISIONS.map((decision) => {
    const count = updates.filter((update) => update.status === decision).length;
    return { decision, count, share: updates.length ? count / updates.length : 0 };
  });
}

/** The run whose steps hold that one; a boundary belongs to the run that ended with it. */
export const runAt = <R extends Pick<NanoSessionRun, "from_step" | "to_step">>(runs: readonly R[], step: number): R | null =>
  runs.find((run) => step > run.from_step && step <= run.to_step) ?? null;

/** The last runs, as many as hold about `most` steps together, and at least one; oldest first. */
export function lastRuns<R extends Pick<NanoSessionRun, "steps">>(runs: readonly R[], most: number): R[] {
  let steps = 0;
  let from = runs.length;
  while (from > 0) {
    steps += (runs[from - 1] as R).steps;
    if (steps > most && from < runs.length) break;
    from -= 1;
  }
  return runs.slice(from);
}

/** Sessions with one root: they have commits in common. */
export const familyOf = (sessions: readonly NanoSession[], session: NanoSession): NanoSession[] =>
  sessions.filter((other) => other.signature.root_session === session.signature.root_session);

/** How many times smaller; null where either is missing or zero. */
export const factor = (from: number | null, to: number | null): number | null => (from !== null && to !== null && from > 0 && to > 0 ? from / to : null);

export type TransactionColumn = "t" | "turn" | "status" | "grad_norm" | "pre_loss" | "post_loss" | "update_norm" | "canary_delta" | "drift";

export interface TransactionOrder {
  by: TransactionColumn;
  down: boolean;
}

/** In that order; a missing value comes last either way, equal ones by step. */
export function sortTransactions(rows: readonly NanoTransaction[], { by, down }: TransactionOrder): NanoTransaction[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [a[by], b[by]];
    if (x !== y && (x === null || y === null)) return x === null ? 1 : -1;
    const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
    return sign * order || a.t - b.t;
  });
}

/** A click on a column's head: turns the order round, or begins with that column; figures from the largest. */
export const nextTransactionOrder = (order: TransactionOrder, by: TransactionColumn): TransactionOrder =>
  order.by === by ? { by, down: !order.down } : { by, down: by !== "t" && by !== "turn" && by !== "status" };
