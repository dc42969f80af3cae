import { describe, expect, it } from "vitest";
import type { ModelInfo, TrainJob } from "../api/types";
import { formatSlots, heldOutUnit, heldOutUnits, isMeta, joinRuns, parseSlots, readsText, toggleSlot } from "./runs";

const job = (id: string, created: string): TrainJob => ({
  model_id: id,
  status: "running",
  preset: "laptop",
  step: 5,
  steps: 20,
  pid: 1,
  resumable: false,
  error: null,
  created_at: created,
  updated_at: created,
  last: null,
});

const model = (id: string, changes: Partial<ModelInfo> = {}): ModelInfo => ({
  model_id: id,
  kind: "tiny_lm",
  status: "ready",
  created_at: "2026-01-01T00:00:00Z",
  params: 1000,
  bytes: 4000,
  step: 20,
  steps: 20,
  val_bpb: 2.5,
  corpus: { name: "tiny" },
  tokenizer: {},
  preset: null,
  seed: 7,
  own_rule: false,
  shipped: false,
  ...changes,
});

describe("joinRuns", () => {
  it("joins jobs with their models, newest first, and leaves out shipped models and what sleep made", () => {
    const runs = joinRuns(
      [job("a", "2026-01-02T00:00:00Z"), job("b", "2026-01-03T00:00:00Z")],
      [model("a", { status: "training", val_bpb: null }), model("c"), model("starter", { shipped: true }), model("slept", { status: "sleep_candidate", parent: "c" })],
    );
    expect(runs.map((run) => run.id)).toEqual(["b", "a", "c"]);
    expect(runs[1]).toMatchObject({ status: "running", corpus: "tiny", seed: 7, usable: false });
    expect(runs[2]).toMatchObject({ status: "done", usable: true, valBpb: 2.5 });
    expect(runs[0]).toMatchObject({ params: null, corpus: null, seed: null });
  });
});

describe("slots", () => {
  it("keep their place while others come and go", () => {
    let slots = toggleSlot(toggleSlot(toggleSlot([], "a"), "b"), "c");
    slots = toggleSlot(slots, "b");
    expect(slots).toEqual(["a", null, "c"]);
    expect(formatSlots(slots)).toBe("a,,c");
    expect(parseSlots("a,,c")).toEqual(["a", null, "c"]);
    expect(toggleSlot(slots, "d")).toEqual(["a", "d", "c"]);
  });

  it("are six at most, and take well-formed ids only", () => {
    const full = ["a", "b", "c", "d", "e", "f"];
    expect(toggleSlot(full, "g")).toEqual(full);
    expect(parseSlots("a,../x,B,c")).toEqual(["a", null, null, "c"]);
    expect(parseSlots("a,b,c,d,e,f,g")).toHaveLength(6);
    expect(parseSlots(null)).toEqual([]);
    expect(formatSlots([null, null])).toBe("");
  });
});

describe("kinds of runs", () => {
  it("knows a model of text from one of token ids", () => {
    expect(readsText(model("a", { tokenizer: { kind: "byte" } }))).toBe(true);
    expect(readsText(model("a", { tokenizer: { kind: "ids", vocab_size: 194 } }))).toBe(false);
    expect(readsText(model("a", { status: "training" }))).toBe(false);
  });
  it("knows a meta-learned run by its model, or by its preset before there is one", () => {
    const [started] = joinRuns([{ ...job("a", "2026-01-02T00:00:00Z"), preset: "kv_cpu" }], []);
    expect(isMeta(started as never)).toBe(true);
    expect(joinRuns([job("b", "2026-01-02T00:00:00Z")], [model("c", { kind: "e2e" })]).map(isMeta)).toEqual([false, true]);
  });
  it("counts answers of KV retrieval and bytes of text", () => {
    expect(heldOutUnit({ corpus: "kv" })).toBe("bits an answer");
    expect(heldOutUnit({ corpus: "tiny" })).toBe("bits per byte");
    expect(heldOutUnits([{ corpus: "kv" }, { corpus: "kv" }])).toBe("bits an answer");
    expect(heldOutUnits([{ corpus: "kv" }, { corpus: "tiny" }])).toContain("of KV runs");
  });
});
