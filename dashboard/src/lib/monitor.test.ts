import { describe, expect, it } from "vitest";
import type { MonitorEvent, MonitorOptions } from "../api/types";
import { aligned, decisionDifferences, fileProblem, filtered, optionDifferences, optionName, readText, relaxed, tally, told } from "./monitor";

const event = (chunk: number, changes: Partial<MonitorEvent> = {}) =>
  ({
    chunk_index: chunk,
    token_start: 10 * chunk,
    token_end: 10 * chunk + 10,
    chunk_preview: `text ${chunk}`,
    decision: "committed",
    reasons: [],
    loss: 2,
    drift: 0,
    flagged: false,
    ...changes,
  }) as MonitorEvent;

describe("tally", () => {
  it("counts decisions and weights losses by tokens", () => {
    const sum = tally([
      event(0, { loss: 4, flagged: true }),
      event(1, { decision: "blocked" }),
      event(2, { decision: "rolled_back", token_end: 25, loss: null, drift: 0.25 }),
    ]);
    expect(sum).toEqual({ chunks: 3, committed: 1, blocked: 1, rolled_back: 1, flagged: 1, tokens: 25, loss_mean: 3, drift: 0.25 });
  });

  it("knows no loss of no chunk", () => expect(tally([])).toMatchObject({ chunks: 0, tokens: 0, loss_mean: null, drift: null }));
});

it("filters by decision and by flag", () => {
  const events = [event(0), event(1, { decision: "blocked", flagged: true }), event(2, { flagged: true })];
  expect(filtered(events, "all")).toBe(events);
  expect(filtered(events, "blocked").map((e) => e.chunk_index)).toEqual([1]);
  expect(filtered(events, "flagged").map((e) => e.chunk_index)).toEqual([1, 2]);
  expect(filtered(events, "rolled_back")).toEqual([]);
});

it("keeps refusals and flags apart", () => {
  expect(told(event(0, { reasons: ["only 3% of 32 tokens are distinct", "flag: gradient norm 4.5 (limit 2.5)"] }))).toEqual({
    refusals: ["only 3% of 32 tokens are distinct"],
    notes: ["gradient norm 4.5 (limit 2.5)"],
  });
});

describe("two runs", () => {
  const a = [event(0), event(1, { decision: "blocked" }), event(2)];

  it("finds the chunks that were decided differently", () => {
    const b = [event(0), event(1), event(2, { decision: "rolled_back" }), event(3)];
    expect(aligned(a, b)).toBe(true);
    expect(decisionDifferences(a, b).map(({ chunk, a: x, b: y }) => [chunk, x.decision, y.decision])).toEqual([
      [1, "blocked", "committed"],
      [2, "committed", "rolled_back"],
    ]);
  });

  it("does not take other texts or other chunks for the same", () => {
    expect(aligned(a, [event(0, { chunk_preview: "other" })])).toBe(false);
    expect(aligned(a, [event(0, { token_end: 20 }), event(1, { token_start: 20 })])).toBe(false);
    expect(aligned(a, [event(0), event(1, { token_end: 14 })])).toBe(true); // stopped early
    expect(aligned(a, [])).toBe(true);
  });
});

describe("options", () => {
  const options = (policy: object, changes = {}) => ({ model: "toy", updates: true, ...changes, policy }) as unknown as MonitorOptions;

  it("tells what differs; a rule that is not given is enforced as shipped", () => {
    const a = options({ spfw: { mode: "enforce" }, drift: { budget: 0.5 }, gate: null });
    const b = options({ spfw: { mode: "off" }, drift: { budget: 0.2 }, gate: { blob: { mode: "enforce", encoded: null }, override: { mode: "observe" } } });
    expect(optionDifferences(a, b)).toEqual([
      { path: "policy.spfw.mode", a: "enforce", b: "off" },
      { path: "policy.drift.budget", a: "0.5", b: "0.2" },
      { path: "policy.gate.override.mode", a: "enforce", b: "observe" },
    ]);
    expect(optionDifferences(a, a)).toEqual([]);
    expect(relaxed(a)).toEqual([]);
    const table = { side: "low", points: [{ size: 16, limit: 1.794737, typical: 3.75 }, { size: 128, limit: 2, typical: 5 }] };
    expect(optionDifferences(a, options({ ...a.policy, gate: { entropy: { mode: "enforce", table } } }))).toEqual([
      { path: "policy.gate.entropy.table", a: "as shipped", b: "1.795 at 16, 2 at 128" },
    ]);
    expect(relaxed(b)).toEqual(["Projection (SPFW) off", "Instruction override observed"]);
  });

  it("names them as the page does", () => {
    expect(optionName("policy.gate.blob.mode")).toBe("Encoded or minified");
    expect(optionName("policy.name")).toBe("Policy");
    expect(optionName("policy.gate.entropy.table")).toBe("Token entropy");
    expect(optionName("policy.drift.budget")).toBe("Drift budget, budget");
    expect(optionName("chunk_tokens")).toBe("chunk tokens");
  });
});

describe("files", () => {
  it("takes 256 KiB and leads to the command line beyond", () => {
    expect(fileProblem("a.txt", 262_144, "toy")).toBeNull();
    expect(fileProblem("a.txt", 0, "toy")).toContain("empty");
    expect(fileProblem("a.txt", 262_145, "starter")).toContain("fastweights monitor --file a.txt --model starter");
    expect(fileProblem("it's a book.txt", 9e6, "toy")).toContain("--file 'it'\\''s a book.txt'");
  });

  it("reads UTF-8 and nothing else", () => {
    expect(readText(new TextEncoder().encode("naïve").buffer as ArrayBuffer)).toBe("naïve");
    expect(readText(new Uint8Array([0xff, 0xfe, 0x41]).buffer)).toBeNull();
  });
});
