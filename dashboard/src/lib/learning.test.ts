import { describe, expect, test } from "vitest";
import type { SessionOptions } from "../api/types";
import { byRule, describeLearning, forMemory, withoutRule } from "./learning";

const options = { memory: "linear", rank: 16, rule: "sgd", lr: 0.1, momentum: 0, clip: 1, inner_steps: 1, chunk_tokens: 64, policy: { spfw: { mode: "enforce" } } } as SessionOptions;

const openapi = { components: { schemas: { SessionOptions: { properties: { memory: { enum: ["linear", "low_rank", "head", "mix"], "x-by-rule": ["linear", "low_rank", "head"] } } } } } };
const ruled = byRule(openapi);

test("which memories write by the rule is the server's to say", () => {
  expect(ruled).toEqual(["linear", "low_rank", "head"]);
  expect(byRule(undefined)).toEqual([]);
});

describe("options of a rule", () => {
  test("go with no model that has its own", () => {
    expect(withoutRule({ memory: "mix", lr: 1, chunk_tokens: 8, policy: {} })).toEqual({ chunk_tokens: 8, policy: {} });
  });
  test("and neither does a memory that writes by a rule of its own", () => {
    expect(forMemory({ lr: 1, chunk_tokens: 8 }, "mix", ruled)).toEqual({ chunk_tokens: 8 });
    expect(forMemory({ memory: "delta", lr: 1 }, "delta", ruled)).toEqual({ memory: "delta" });
    expect(forMemory({ memory: "head", lr: 1 }, "head", ruled)).toEqual({ memory: "head", lr: 1 });
  });
});

describe("in one line", () => {
  test("memory and rule", () => {
    expect(describeLearning(options, false, ruled)).toBe("linear memory, sgd at 0.1, 64-token chunks, SPFW enforce");
    expect(describeLearning({ ...options, memory: "low_rank", momentum: 0.9, inner_steps: 2 }, false, ruled)).toBe("low rank 16 memory, sgd at 0.1, momentum 0.9, 2 inner steps, 64-token chunks, SPFW enforce");
  });
  test("a memory in closed form has no rule to tell of, a model with its own neither memory nor rule", () => {
    expect(describeLearning({ ...options, memory: "mix" }, false, ruled)).toBe("mix memory, 64-token chunks, SPFW enforce");
    expect(describeLearning(options, true, ruled)).toBe("its own rule, 64-token chunks, SPFW enforce");
  });
});
