import { expect, it } from "vitest";
import type { NanoRows, NanoSession, NanoTransaction } from "../api/types";
import { factor, familyOf, lastRuns, meansOf, nextTransactionOrder, runAt, shares, sortTransactions, stepsPerPoint, updateMarks } from "./nano";

const rows = (from: number, values: (number | null)[]) => ({ t: values.map((_, i) => from + i), adaptive_mse: values }) as unknown as NanoRows;
const write = (t: number, status: string, more = {}) => ({ t, status, grad_norm: 1, turn: 1, ...more }) as unknown as NanoTransaction;

it("draws a point for the steps between two writes, more on a long run, each step on a short one", () => {
  expect([1, 63, 64, 255, 256, 1000, 20_000].map(stepsPerPoint)).toEqual([1, 1, 8, 8, 32, 32, 64]);
});

it("takes the mean of each block at its last step, aligned to the world's steps", () => {
  expect(meansOf([rows(1, [1, 3, 5, 7, 9])], "adaptive_mse", 2)).toEqual({ x: [2, 4, 5], y: [2, 6, 9] });
  expect(meansOf([rows(2, [1, 3, 5])], "adaptive_mse", 2)).toEqual({ x: [2, 4], y: [1, 4] });
});

it("begins a new block with each run, and has no mean where a value was not finite", () => {
  expect(meansOf([rows(1, [1]), rows(2, [3])], "adaptive_mse", 4)).toEqual({ x: [1, 2], y: [1, 3] });
  expect(meansOf([rows(1, [1, null, 2, 4])], "adaptive_mse", 2)).toEqual({ x: [2, 4], y: [null, 3] });
  expect(meansOf([], "adaptive_mse", 2)).toEqual({ x: [], y: [] });
});

it("shares sum to one and name what did not happen too", () => {
  const found = shares([write(32, "committed"), write(64, "rolled_back"), write(96, "committed"), write(128, "committed")]);
  expect(found).toEqual([
    { decision: "committed", count: 3, share: 0.75 },
    { decision: "blocked", count: 0, share: 0 },
    { decision: "rolled_back", count: 1, share: 0.25 },
  ]);
  expect(shares([]).every(({ share }) => share === 0)).toBe(true);
});

it("gives a boundary to the run that ended there", () => {
  const runs = [{ from_step: 0, to_step: 32 }, { from_step: 32, to_step: 64 }];
  expect(runAt(runs, 32)).toBe(runs[0]);
  expect(runAt(runs, 33)).toBe(runs[1]);
  expect(runAt(runs, 65)).toBeNull();
});

it("keeps the last runs that fit, and at least one", () => {
  const runs = [{ steps: 10 }, { steps: 20 }, { steps: 30 }];
  expect(lastRuns(runs, 50)).toEqual([{ steps: 20 }, { steps: 30 }]);
  expect(lastRuns(runs, 5)).toEqual([{ steps: 30 }]);
  expect(lastRuns(runs, 1000)).toHaveLength(3);
  expect(lastRuns([], 5)).toEqual([]);
});

it("sorts transactions; what is missing comes last either way", () => {
  const list = [write(32, "committed", { grad_norm: 2 }), write(64, "blocked", { grad_norm: null }), write(96, "committed", { grad_norm: 5 })];
  const order = (down: boolean) => sortTransactions(list, { by: "grad_norm", down }).map(({ t }) => t);
  expect(order(true)).toEqual([96, 32, 64]);
  expect(order(false)).toEqual([32, 96, 64]);
  expect(sortTransactions(list, { by: "status", down: false }).map(({ t }) => t)).toEqual([64, 32, 96]);
  expect(nextTransactionOrder({ by: "t", down: false }, "grad_norm")).toEqual({ by: "grad_norm", down: true });
  expect(nextTransactionOrder({ by: "grad_norm", down: true }, "grad_norm")).toEqual({ by: "grad_norm", down: false });
});

it("marks every write, and finds a family by its root", () => {
  expect(updateMarks([write(32, "blocked")])).toEqual([{ x: 32, decision: "blocked", row: 0 }]);
  const session = (id: string, root: string) => ({ session_id: id, signature: { root_session: root } }) as NanoSession;
  const all = [session("a", "a"), session("b", "a"), session("c", "c")];
  expect(familyOf(all, all[1] as NanoSession).map((entry) => entry.session_id)).toEqual(["a", "b"]);
  expect([factor(6, 2), factor(1, 0), factor(null, 2)]).toEqual([3, null, null]);
});
