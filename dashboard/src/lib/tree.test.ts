import { describe, expect, it } from "vitest";
import type { CommitInfo } from "../api/types";
import type { SessionRow } from "./sessionRows";
import { buildTree, nameOf, neighbour, path, type TreeNode } from "./tree";

const commit = (id: string, parent: string | null, session: string, more: Partial<CommitInfo> = {}): CommitInfo => ({
  commit: id, short: id, parent, kind: parent ? "turn" : "init", turn: 1, summary: "", state: id, session, to: null, reverted: null,
  head: false, tags: [], committed: 0, blocked: 0, rolled_back: 0, drift: null, created_at: `2026-01-01T00:00:0${id.slice(-1)}Z`, ...more,
});
const row = (id: string): SessionRow => ({
  key: `text:${id}`, kind: "text", id, model: "m", title: "", turns: 1, head: "", parent: null, bytes: 0, drift: null,
  createdAt: "", updatedAt: "",
});

// a0 - a1 - a2 (head of a), a1 - b3 - b4 (head of b), and c0 alone: made earlier.
const a = [commit("a2", "a1", "a", { head: true }), commit("a1", "a0", "a", { tags: ["good"] }), commit("a0", null, "a")];
const b = [commit("b4", "b3", "b", { head: true }), commit("b3", "a1", "b"), commit("a1", "a0", "a"), commit("a0", null, "a")];
const c = [commit("c0", null, "c", { head: true })];
const tree = buildTree([{ row: row("b"), log: b }, { row: row("c"), log: c }, { row: row("a"), log: a }]);
const node = (id: string) => tree.get(id) as TreeNode;

describe("buildTree", () => {
  it("holds every commit once, with the sessions, heads and tags of all logs", () => {
    expect(tree.size).toBe(6);
    expect(node("a1").sessions.sort()).toEqual(["a", "b"]);
    expect(node("a1").tags).toEqual([{ session: "a", tag: "good" }]);
    expect(node("b4").heads).toEqual(["b"]);
  });
  it("keeps a session on its lane and puts a fork on its own", () => {
    expect(node("a1").children).toEqual(["a2", "b3"]);
    expect(["a0", "a1", "a2"].map((id) => node(id).lane)).toEqual([0, 0, 0]);
    expect(["b3", "b4"].map((id) => [node(id).lane, node(id).column])).toEqual([[1, 2], [1, 3]]);
    expect(node("c0").lane).toBe(2.5);
  });
  it("places branches that leave later closer, and stands a long chain", () => {
    const chain = Array.from({ length: 20_000 }, (_, i) => commit(`x${i}`, i ? `x${i - 1}` : null, "x", { created_at: "1", head: i === 19_999 }));
    const fork = (id: string, at: string) => commit(id, at, id, { created_at: "2" });
    const big = buildTree([{ row: row("x"), log: [...chain, fork("early", "x5"), fork("late", "x9")] }]);
    expect(big.get("x19999")?.column).toBe(19_999);
    expect([big.get("late")?.lane, big.get("early")?.lane]).toEqual([1, 2]);
  });
  it("starts a tree where a log is cut off", () => {
    const cut = buildTree([{ row: row("b"), log: b.slice(0, 2) }]);
    expect(cut.get("b3")?.parent).toBeNull();
  });
});

describe("neighbour", () => {
  it("follows the arrows", () => {
    expect(neighbour(tree, "a1", "ArrowLeft")).toBe("a0");
    expect(neighbour(tree, "a1", "ArrowRight")).toBe("a2");
    expect(neighbour(tree, "a2", "ArrowRight")).toBeNull();
    expect(neighbour(tree, "a2", "ArrowDown")).toBe("b3");
    expect(neighbour(tree, "b4", "ArrowDown")).toBe("c0");
    expect(neighbour(tree, "b4", "ArrowUp")).toBe("a2");
    expect(neighbour(tree, "b4", "Home")).toBe("a0");
    expect(neighbour(tree, "a0", "End")).toBe("a2");
    expect(neighbour(tree, "a0", "x")).toBeNull();
  });
});

it("path is from the start to the head, whatever else the log holds", () => {
  const log = [commit("z9", "a1", "a"), ...a];
  expect(path(log).map((entry) => entry.commit)).toEqual(["a0", "a1", "a2"]);
});

it("nameOf", () => {
  expect(nameOf(commit("a1", "a0", "a", { turn: 3 }))).toBe("turn 3");
  expect(nameOf(commit("a0", null, "a"))).toBe("start");
});
