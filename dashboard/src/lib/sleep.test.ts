import { describe, expect, test } from "vitest";
import type { SleepManifest } from "../api/types";
import { command, differencesOf, partsByKept, tally, verdictsOf, withinBound } from "./sleep";

type Part = SleepManifest["parts"][number];
type Write = SleepManifest["writes"][number];

const manifest = {
  kind: "text",
  mode: "delta",
  core: "tinyshakespeare",
  core_before: 2.23,
  core_after: 2.235,
  mix_before: 3.1,
  mix_after: 2.4,
  unit: "bits per byte",
  request: { max_core_rise: 0.01 },
} as unknown as SleepManifest;

describe("decisions", () => {
  test("an undecided candidate can be approved or rejected, a decision taken back, a run nothing", () => {
    expect(verdictsOf("sleep_candidate")).toEqual(["approve", "reject"]);
    expect(verdictsOf("ready")).toEqual(["revert"]);
    expect(verdictsOf("rejected")).toEqual(["revert"]);
    for (const status of ["running", "failed", "cancelled", "interrupted"] as const) expect(verdictsOf(status)).toEqual([]);
  });
});

describe("evidence", () => {
  test("the evaluation's differences", () => {
    const [core, mix] = differencesOf(manifest);
    expect(core).toMatchObject({ name: "Core text, held out (tinyshakespeare)" });
    expect(core?.change).toBeCloseTo(0.005);
    expect(mix).toMatchObject({ unit: "bits per byte", before: 3.1, after: 2.4 });
    expect(differencesOf({ ...manifest, kind: "nano", unit: "MSE" }).map((row) => row.unit)).toEqual(["MSE", "MSE"]);
  });
  test("the bound on core text: bits per byte, of Nano a share, of replay none", () => {
    expect(withinBound(manifest)).toBe(true);
    expect(withinBound({ ...manifest, core_after: 2.245 })).toBe(false);
    expect(withinBound({ ...manifest, mode: "replay" })).toBeNull();
    expect(withinBound({ ...manifest, kind: "nano", core_before: 1, core_after: 1.02 })).toBe(false);
  });
  test("parts by what they kept", () => {
    const part = (name: string, change: number, scale: number): Part => ({ name, change, scale, params: 1, importance: null, gain: null, cost: null });
    expect(partsByKept([part("a", 4, 0), part("b", 1, 1), part("c", 3, 0.5)]).map((one) => one.name)).toEqual(["c", "b", "a"]);
  });
  test("the guard's decisions", () => {
    const write = (decision: Write["decision"]): Write => ({ step: 1, decision, reasons: [], loss: 1, update_norm: 1, canary_delta: null, drift: null });
    expect(tally([write("committed"), write("committed"), write("rolled_back")])).toEqual({ committed: 2, blocked: 0, rolled_back: 1 });
  });
});

test("the command line says what was asked, and no more", () => {
  expect(command({})).toBe("fastweights sleep");
  expect(command({ mode: "replay", train_steps: 50, core_path: "my text.txt", base_model_id: null, model_id: "night" })).toBe(
    "fastweights sleep --mode replay --core-path 'my text.txt' --train-steps 50 --model-id night",
  );
});
