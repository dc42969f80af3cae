/** Figures of a session's turns against its commits. Pure. */
import type { CommitInfo, NanoSessionRun, Turn } from "../api/types";
import { summarize } from "./events";

interface Points {
  x: number[];
  y: (number | null)[];
}

/** x: commits since the start; turns of other branches have no place. */
function placed<T extends { commit: string }>(commits: readonly CommitInfo[], turns: readonly T[], of: (turn: T) => number | null): Points {
  const step = new Map(commits.map((commit, i) => [commit.commit, i]));
  const known = turns.filter((turn) => step.has(turn.commit));
  return { x: known.map((turn) => step.get(turn.commit) as number), y: known.map(of) };
}

/** Mean loss of the chunks that each turn read, under the weights before each was learned from. */
export const lossOfTurns = (commits: readonly CommitInfo[], turns: readonly Pick<Turn, "commit" | "events">[]): Points =>
  placed(commits, turns, (turn) => summarize(turn.events).lossBefore);

/** Mean squared error of each Nano run as the session went on learning. */
export const errorOfRuns = (commits: readonly CommitInfo[], runs: readonly Pick<NanoSessionRun, "commit" | "adaptive_mse">[]): Points =>
  placed(commits, runs, (run) => run.adaptive_mse);
