import { describe, expect, it } from "vitest";
import type { CommitInfo } from "../api/types";
import { isTyping, shortcut } from "./keys";
import { stroke, strokes } from "./palette";
import { describeSampling, readSampling, seedFrom } from "./sampling";
import { startOf } from "./transcript";

describe("shortcut", () => {
  const press = (key: string, changes = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...changes });

  it("knows the keys", () => {
    expect(shortcut(press("g"), false, false)).toEqual({ kind: "prefix" });
    expect(shortcut(press("t"), false, true)).toEqual({ kind: "go", key: "t" });
    expect(shortcut(press("?"), false, false)).toEqual({ kind: "help" });
    expect(shortcut(press("/"), false, false)).toEqual({ kind: "focus" });
    expect(shortcut(press("t"), false, false)).toBeNull();
  });

  it("leaves text and the browser's own shortcuts alone", () => {
    expect(shortcut(press("?"), true, false)).toBeNull();
    expect(shortcut(press("g", { ctrlKey: true }), false, false)).toBeNull();
    expect(isTyping({ tagName: "TEXTAREA" })).toBe(true);
    expect(isTyping({ tagName: "INPUT", type: "text" })).toBe(true);
    expect(isTyping({ tagName: "INPUT", type: "checkbox" })).toBe(false);
    expect(isTyping({ tagName: "BUTTON" })).toBe(false);
    expect(isTyping(null)).toBe(false);
  });
});

it("tells every slot apart by dash as well as by colour", () => {
  expect(new Set(strokes.map((entry) => entry.dash.join())).size).toBe(strokes.length);
  expect(stroke(7)).toBe(strokes[1]);
});

describe("sampling", () => {
  it("keeps numbers only", () => {
    expect(readSampling({ temperature: 0.5, top_p: "x", seed: Number.NaN, other: 1 })).toEqual({ temperature: 0.5 });
    expect(readSampling(null)).toEqual({});
  });

  it("says how a reply will be drawn", () => {
    const defaults = { temperature: 0.8, top_p: 0.95, max_new_tokens: 128 };
    expect(describeSampling({}, defaults)).toBe("temperature 0.8 · top-p 0.95 · 128 tokens · new seed each time");
    expect(describeSampling({ temperature: 0, seed: 3 }, defaults)).toBe("greedy · 128 tokens · seed 3");
  });

  it("draws whole seeds in range", () => {
    expect(seedFrom(0)).toBe(0);
    expect(seedFrom(0.9999999999)).toBeLessThan(2 ** 31);
    expect(Number.isInteger(seedFrom(0.123))).toBe(true);
  });
});

describe("startOf", () => {
  const commit = (id: string, kind: CommitInfo["kind"], turn = 0) => ({ commit: id, kind, turn }) as CommitInfo;

  it("finds the last reset and counts the turns before it", () => {
    const log = [commit("d", "turn"), commit("r2", "reset"), commit("c", "turn"), commit("r1", "reset"), commit("a", "turn"), commit("i", "init")];
    expect(startOf(log)).toEqual({ reset: log[1], earlier: 2 });
    expect(startOf([commit("a", "turn"), commit("i", "init")])).toEqual({ reset: null, earlier: 0 });
    expect(startOf([])).toEqual({ reset: null, earlier: 0 });
    const back = [commit("r", "reset", 1), commit("b", "turn", 2), commit("a", "turn", 1), commit("i", "init")];
    expect(startOf(back)).toEqual({ reset: back[0], earlier: 1 });
  });
});
