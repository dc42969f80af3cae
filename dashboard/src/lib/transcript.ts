/** Where the turns on show stand in a session's history. Pure. */
import type { CommitInfo } from "../api/types";

export interface Start {
  /** The reset that the turns on show follow; null where they follow the session's own start. */
  reset: CommitInfo | null;
  /** Turns before it: not on show, kept in the log. */
  earlier: number;
}

/** From the log, newest first. */
export function startOf(log: readonly CommitInfo[]): Start {
  const at = log.findIndex((commit) => commit.kind === "reset");
  if (at < 0) return { reset: null, earlier: 0 };
  const reset = log[at] as CommitInfo;
  const before = log.slice(at + 1).filter((commit) => commit.kind === "turn").length;
  return { reset, earlier: Math.max(0, before - reset.turn) }; // a reset to a commit shows the turns that it went back to
}
