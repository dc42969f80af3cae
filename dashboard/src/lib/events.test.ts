import { describe, expect, it } from "vitest";
import type { ChunkEvent } from "../api/types";
import { budgetShare, spanned, summarize } from "./events";

const plain: Partial<ChunkEvent> = {
  chunk_index: 0,
  token_start: 0,
  token_end: 64,
  chunk_preview: "",
  decision: "committed",
  reasons: [],
  loss: 4,
  loss_after: 3,
  grad_norm: 1,
  attempted_update_norm: 0.1,
  update_norm: 0.1,
  projected_fraction: null,
  canaries: [],
  canary_delta: null,
  canary_delta_z: null,
  drift: null,
  checks: [],
  step: 1,
};
const event = (changes: Partial<ChunkEvent>) => ({ ...plain, ...changes }) as ChunkEvent;

describe("summarize", () => {
  it("weights losses by tokens", () => {
    const sum = summarize([event({ loss: 4, loss_after: 3 }), event({ token_start: 64, token_end: 80, loss: 2, loss_after: 2 })]);
    expect(sum.tokens).toBe(80);
    expect(sum.lossBefore).toBeCloseTo((64 * 4 + 16 * 2) / 80);
    expect(sum.lossAfter).toBeCloseTo((64 * 3 + 16 * 2) / 80);
  });

  it("leaves out chunks whose loss was not finite", () => {
    const sum = summarize([event({ loss: null, loss_after: null, grad_norm: null, attempted_update_norm: null, decision: "blocked", update_norm: 0 })]);
    expect(sum.lossBefore).toBeNull();
    expect(sum.gradNorm).toBeNull();
    expect(sum.attempted).toBeNull();
    expect(sum.written).toBe(0);
  });

  it("counts decisions and groups the reasons of refusals", () => {
    const rolled = { decision: "rolled_back", update_norm: 0, reasons: ["drift"] } as const;
    const sum = summarize([
      event({ reasons: ["only observed"] }),
      event({ ...rolled, reasons: ["drift"] }),
      event({ ...rolled, reasons: ["drift"] }),
      event({ decision: "blocked", reasons: ["non_finite"], update_norm: 0 }),
    ]);
    expect(sum.counts).toEqual({ committed: 1, blocked: 1, rolled_back: 2 });
    expect(sum.reasons).toEqual([
      { text: "drift", decision: "rolled_back", count: 2 },
      { text: "non_finite", decision: "blocked", count: 1 },
    ]);
    expect(sum.attempted).toBeCloseTo(0.4);
    expect(sum.written).toBeCloseTo(0.1);
  });

  it("takes the peak gradient and the mean projection", () => {
    const sum = summarize([event({ grad_norm: 2, projected_fraction: 0.5 }), event({ grad_norm: 3, projected_fraction: 0 })]);
    expect(sum.gradNorm).toBe(3);
    expect(sum.projected).toBe(0.25);
  });

  it("says nothing of no events", () => {
    const sum = summarize([]);
    expect(sum).toMatchObject({ chunks: 0, tokens: 0, lossBefore: null, projected: null, written: 0 });
  });
});

it("gives the used share of the drift budget, within 0 and 1", () => {
  expect(budgetShare(0.25, 1)).toBe(0.25);
  expect(budgetShare(-0.1, 1)).toBe(0);
  expect(budgetShare(3, 1)).toBe(1);
  expect(budgetShare(null, 1)).toBeNull();
  expect(budgetShare(0.1, null)).toBeNull();
});

it("tells reasons that differ in their numbers once", () => {
  const refused = (reason: string) => event({ decision: "rolled_back", update_norm: 0, reasons: [reason] });
  const sum = summarize([
    refused("canary loss rose by 1.3824 nats (limit 1e-06)"),
    refused("canary loss rose by 0.3562 nats (limit 1e-06)"),
    refused("the gradient is not finite"),
  ]);
  expect(sum.reasons).toEqual([
    { text: "canary loss rose by 0.3562 to 1.3824 nats (limit 1e-06)", decision: "rolled_back", count: 2 },
    { text: "the gradient is not finite", decision: "rolled_back", count: 1 },
  ]);
  expect(spanned(["one"])).toBe("one");
});
