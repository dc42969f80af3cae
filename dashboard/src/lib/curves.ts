/** Figures of a session's turns against its commits. Pure. */
import type { CommitInfo, Turn } from "../api/types";
import { summarize } from "./events";

/** Mean loss of the chunks that each turn read, under the weights before each was learned from; x: commits since the start. */
export function lossOfTurns(commits: readonly CommitInfo[], turns: readonly Pick<Turn, "commit" | "events">[]): { x: number[]; y: (number | null)[] } {
  const step = new Map(commits.map((commit, i) => [commit.commit, i]));
  const placed = turns.flatMap((turn) => {
    const x = step.get(turn.commit);
    return x === undefined ? [] : [{ x, y: summarize(turn.events).lossBefore }];
  });
  return { x: placed.map((point) => point.x), y: placed.map((point) => point.y) };
}
