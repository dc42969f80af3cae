import { expect, it } from "vitest";
import type { NamedPolicy } from "../api/types";
import { merged, resolved } from "./policies";

const named = (name: string, model: string | null = null) => ({ name, model }) as NamedPolicy;

it("default means what was calibrated on the model, else the plain policy", () => {
  const list = [named("default"), named("observe"), named("toy", "toy")];
  expect(resolved(list, "default", "toy")?.name).toBe("toy");
  expect(resolved(list, "default", "mine")?.name).toBe("default");
  expect(resolved(list, "observe", "toy")?.name).toBe("observe");
  expect(resolved(list, "nowhere", "toy")).toBeUndefined();
});

it("lays changes over a policy and keeps the rest", () => {
  const base = { audit: { mode: "enforce", max_delta: 0.1 }, gate: null };
  expect(merged(base, { audit: { mode: "off" }, gate: { blob: { mode: "observe" } } })).toEqual({
    audit: { mode: "off", max_delta: 0.1 },
    gate: { blob: { mode: "observe" } },
  });
  expect(merged(base, undefined)).toBe(base);
  expect(merged([1, 2], [3])).toEqual([3]);
});
