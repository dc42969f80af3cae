/** Sessions and their commits as one tree: the union of the logs, a place for each commit, its neighbours. Pure. */
import type { CommitInfo } from "../api/types";
import type { SessionKind, SessionRow } from "./sessionRows";

export interface TreeNode {
  id: string;
  kind: SessionKind;
  commit: CommitInfo;
  parent: string | null;
  /** The continuation of the commit's own session first, then the others as they were made. */
  children: string[];
  /** Steps from the initial state. */
  column: number;
  /** One a branch; trees of other sessions are a half apart. */
  lane: number;
  /** Sessions whose log holds the commit: any of them can be asked about it. */
  sessions: string[];
  /** Sessions whose head it is, the one that made it first. */
  heads: string[];
  tags: { session: string; tag: string }[];
}

export type Tree = Map<string, TreeNode>;

export interface SessionLog {
  row: SessionRow;
  log: readonly CommitInfo[];
}

export function buildTree(logs: readonly SessionLog[]): Tree {
  const tree: Tree = new Map();
  for (const { row, log } of logs) {
    for (const commit of log) {
      let node = tree.get(commit.commit);
      if (!node) {
        node = { id: commit.commit, kind: row.kind, commit, parent: null, children: [], column: 0, lane: 0, sessions: [], heads: [], tags: [] };
        tree.set(node.id, node);
      }
      node.sessions.push(row.id);
      if (commit.head) node.heads.push(row.id);
      for (const tag of commit.tags) node.tags.push({ session: row.id, tag });
    }
  }
  for (const node of tree.values()) {
    const foreign = (id: string) => (id === node.commit.session ? 0 : 1);
    node.heads.sort((a, b) => foreign(a) - foreign(b) || a.localeCompare(b));
  }
  link(tree);
  place(tree);
  return tree;
}

function link(tree: Tree): void {
  for (const node of tree.values()) {
    const above = node.commit.parent === null ? undefined : tree.get(node.commit.parent);
    if (!above) continue;
    node.parent = above.id;
    above.children.push(node.id);
  }
  const get = (id: string) => tree.get(id) as TreeNode;
  for (const node of tree.values()) {
    const foreign = (id: string) => (get(id).commit.session === node.commit.session ? 0 : 1);
    node.children.sort((a, b) => foreign(a) - foreign(b) || get(a).commit.created_at.localeCompare(get(b).commit.created_at));
  }
}

/** Each branch gets a lane; branches that leave later lie closer to theirs, so that no line crosses another. */
function place(tree: Tree): void {
  const roots = [...tree.values()].filter((node) => node.parent === null);
  const latest = (node: TreeNode) => lastOf(tree, node);
  const order = roots.map((root) => ({ root, at: latest(root) })).sort((a, b) => b.at.localeCompare(a.at));
  let lane = 0;
  for (const { root } of order) {
    const open = [{ from: root, column: 0 }];
    while (open.length > 0) {
      let { from, column } = open.pop() as { from: TreeNode; column: number };
      for (;;) {
        from.lane = lane;
        from.column = column;
        const [next, ...others] = from.children.map((id) => tree.get(id) as TreeNode);
        column += 1;
        for (const other of others) open.push({ from: other, column });
        if (!next) break;
        from = next;
      }
      lane += 1;
    }
    lane += 0.5;
  }
}

/** When the newest commit of a tree was made. */
function lastOf(tree: Tree, root: TreeNode): string {
  let newest = root.commit.created_at;
  const open = [root];
  for (let node = open.pop(); node; node = open.pop()) {
    if (node.commit.created_at > newest) newest = node.commit.created_at;
    for (const id of node.children) open.push(tree.get(id) as TreeNode);
  }
  return newest;
}

/** Where an arrow key leads from a commit; null: nowhere. */
export function neighbour(tree: Tree, id: string, key: string): string | null {
  const node = tree.get(id);
  if (!node) return null;
  if (key === "ArrowLeft") return node.parent;
  if (key === "ArrowRight") return node.children[0] ?? null;
  if (key === "Home" || key === "End") {
    let here = node;
    for (;;) {
      const next = key === "Home" ? here.parent : here.children[0];
      if (!next) return here.id;
      here = tree.get(next) as TreeNode;
    }
  }
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const down = key === "ArrowDown";
  let best: TreeNode | null = null;
  for (const other of tree.values()) {
    if (down ? other.lane <= node.lane : other.lane >= node.lane) continue;
    if (!best || closer(node, other, best)) best = other;
  }
  return best?.id ?? null;
}

/** The nearest lane first, in it the nearest column. */
function closer(from: TreeNode, a: TreeNode, b: TreeNode): boolean {
  const lanes = Math.abs(a.lane - from.lane) - Math.abs(b.lane - from.lane);
  return lanes < 0 || (lanes === 0 && Math.abs(a.column - from.column) < Math.abs(b.column - from.column));
}

/** Commits from the initial state to a session's head, or to the one that is named. */
export function path(log: readonly CommitInfo[], to?: string): CommitInfo[] {
  const byId = new Map(log.map((commit) => [commit.commit, commit]));
  const found: CommitInfo[] = [];
  for (let at = to === undefined ? log.find((commit) => commit.head) : byId.get(to); at; at = at.parent === null ? undefined : byId.get(at.parent)) found.push(at);
  return found.reverse();
}

const NAMES: Record<CommitInfo["kind"], string> = { init: "start", turn: "turn", run: "run", reset: "reset", fork: "fresh rule", revert: "revert" };

/** `start`, `turn 3`, `run 2`, `reset`. */
export const nameOf = (commit: CommitInfo): string =>
  commit.kind === "turn" || commit.kind === "run" ? `${commit.kind} ${commit.turn}` : NAMES[commit.kind];

/** The session to ask about a commit: the preferred one if it holds it, else the one that made it. */
export function pickSession(node: TreeNode, preferred: string | null): string {
  const held = [preferred, node.commit.session].find((id) => id !== null && node.sessions.includes(id));
  return held ?? (node.sessions[0] as string);
}

/** The initial state that a commit grew from. */
export function rootOf(tree: Tree, node: TreeNode): string {
  let here = node;
  while (here.parent !== null) here = tree.get(here.parent) as TreeNode;
  return here.id;
}
