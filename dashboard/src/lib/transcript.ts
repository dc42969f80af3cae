/** The order in which a session's turns and resets happened. Pure. */
import type { CommitInfo, Turn } from "../api/types";

export type Item = { kind: "turn"; turn: Turn } | { kind: "reset"; commit: CommitInfo };

/** Turns oldest first, with a mark where the log (newest first) has a reset between them. Turns the log lacks come last. */
export function transcript(turns: readonly Turn[], log: readonly CommitInfo[]): Item[] {
  const byCommit = new Map(turns.map((turn) => [turn.commit, turn]));
  const items: Item[] = [];
  for (const commit of [...log].reverse()) {
    const turn = byCommit.get(commit.commit);
    if (turn) {
      items.push({ kind: "turn", turn });
      byCommit.delete(commit.commit);
    } else if (commit.kind === "reset") {
      items.push({ kind: "reset", commit });
    }
  }
  return [...items, ...turns.filter((turn) => byCommit.has(turn.commit)).map((turn): Item => ({ kind: "turn", turn }))];
}
