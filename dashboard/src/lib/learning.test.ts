import { describe, expect, test } from "vitest";
import type { SessionOptions } from "../api/types";
import { describeLearning, forMemory, ownRule, withoutRule, writesByRule } from "./learning";

const options = { memory: "linear", rank: 16, rule: "sgd", lr: 0.1, momentum: 0, clip: 1, inner_steps: 1, chunk_tokens: 64, policy: { spfw: { mode: "enforce" } } } as SessionOptions;

describe("models with a rule of their own", () => {
  test("are those of test-time training", () => expect(["e2e", "ttt_lm", "tiny_lm", undefined].map(ownRule)).toEqual([true, true, false, false]));
  test("take no option of a rule", () => {
    expect(withoutRule({ memory: "mix", lr: 1, chunk_tokens: 8, policy: {} })).toEqual({ chunk_tokens: 8, policy: {} });
  });
  test("and neither does a memory that writes by a rule of its own", () => {
    expect(forMemory({ lr: 1, chunk_tokens: 8 }, "mix")).toEqual({ chunk_tokens: 8 });
    expect(forMemory({ memory: "delta", lr: 1 }, "delta")).toEqual({ memory: "delta" });
    expect(forMemory({ memory: "head", lr: 1 }, "head")).toEqual({ memory: "head", lr: 1 });
  });
});

describe("in one line", () => {
  test("memory and rule", () => {
    expect(describeLearning(options)).toBe("linear memory, sgd at 0.1, 64-token chunks, SPFW enforce");
    expect(describeLearning({ ...options, memory: "low_rank", momentum: 0.9, inner_steps: 2 })).toBe("low rank 16 memory, sgd at 0.1, momentum 0.9, 2 inner steps, 64-token chunks, SPFW enforce");
  });
  test("a memory in closed form has no rule to tell of, a model with its own neither memory nor rule", () => {
    expect(describeLearning({ ...options, memory: "mix" })).toBe("mix memory, 64-token chunks, SPFW enforce");
    expect(describeLearning(options, "e2e")).toBe("its own rule, 64-token chunks, SPFW enforce");
    expect(["linear", "mix", "ngram"].map(writesByRule)).toEqual([true, false, false]);
  });
});
