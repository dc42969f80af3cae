import { describe, expect, test } from "vitest";
import type { Blame, Turn } from "../api/types";
import { bisected, blamed, effect, inOrder, MAX_PROBE, probeOf } from "./past";

const turn = (n: number): Turn => ({ turn: n, commit: `c${n}` }) as Turn;

test("turns that were left out stand where they were said", () => {
  expect(inOrder([turn(1), turn(3)], [turn(2)]).map((one) => one.turn)).toEqual([1, 2, 3]);
});

describe("a turn as a probe", () => {
  test("what was said, and its answer", () => {
    expect(probeOf({ prompt: "Who?", reply: "Me." })).toEqual({ probe: "Who?", answer: "Me." });
    expect(probeOf({ prompt: "Who?", reply: "" }).answer).toBeNull();
  });
  test("is cut where the two do not meet, never inside a character", () => {
    const long = probeOf({ prompt: `first${"😀".repeat(MAX_PROBE)}`, reply: `${"b".repeat(MAX_PROBE)}last` });
    expect([...long.probe]).toHaveLength(MAX_PROBE);
    expect(long.probe.startsWith("😀")).toBe(true);
    expect(long.answer).toBe("b".repeat(MAX_PROBE));
  });
});

describe("blame", () => {
  const row = (n: number, delta: number | null, exact: number | null = null): Blame["turns"][number] => ({
    turn: n,
    commit: `c${n}`,
    summary: "",
    loss_before: 2,
    loss_after: delta === null ? null : 2 + delta,
    delta,
    exact_delta: exact,
  });
  test("bars are on one scale, an exact figure goes before the other", () => {
    const [first, second, third] = blamed({ turns: [row(2, -1, -0.5), row(1, 0.25), row(3, null)] });
    expect(first).toMatchObject({ turn: 2, delta: -0.5, exact: true, share: 1 });
    expect(second).toMatchObject({ delta: 0.25, exact: false, share: 0.5 });
    expect(third).toMatchObject({ delta: null, share: 0 });
  });
  test("nothing moved: no bar", () => expect(blamed({ turns: [row(1, 0)] })[0]?.share).toBe(0));
  test("in words", () => {
    expect([-0.2, 0.2, 0.0004, null].map(effect)).toEqual(["taught", "unlearned", "nothing", "unknown"]);
  });
});

test("a bisection's states in the order of the session", () => {
  const step = (n: number) => ({ turn: n, commit: `c${n}`, rise: 0, bad: false });
  expect(bisected({ steps: [step(4), step(0), step(2)] }).map((one) => one.turn)).toEqual([0, 2, 4]);
});
