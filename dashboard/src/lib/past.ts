/** What a text session's past is asked: which turns it has left out, who moved an answer, what broke a canary. Pure. */
import type { Bisection, Blame, Turn } from "../api/types";

/** Characters that a probe or an answer may have. */
export const MAX_PROBE = 4096;

/** Turns that the head has seen and those that were left out, in the order in which they were said. */
export const inOrder = (turns: readonly Turn[], reverted: readonly Turn[]): Turn[] => [...turns, ...reverted].sort((a, b) => a.turn - b.turn);

export interface Probe {
  probe: string;
  answer: string | null;
}

/** A turn as a question to the past: what was said, and the answer to it; each cut to what may be asked, at the far end of the other. */
export function probeOf(turn: Pick<Turn, "prompt" | "reply">): Probe {
  return { probe: ending(turn.prompt, MAX_PROBE), answer: turn.reply ? beginningOf(turn.reply, MAX_PROBE) : null };
}

const ending = (text: string, most: number): string => [...text].slice(-most).join("");
const beginningOf = (text: string, most: number): string => [...text].slice(0, most).join("");

export interface Blamed {
  turn: number;
  commit: string;
  summary: string;
  before: number | null;
  after: number | null;
  /** What the turn did to the loss: exact where it was replayed without it, else across the turn. Negative: it taught the answer. */
  delta: number | null;
  exact: boolean;
  /** Length of its bar, 0 to 1 of the longest. */
  share: number;
}

/** The turns by how much they moved the answer, with bars on one scale. */
export function blamed(blame: Pick<Blame, "turns">): Blamed[] {
  const sizes = blame.turns.map((turn) => Math.abs(turn.exact_delta ?? turn.delta ?? 0));
  const most = Math.max(0, ...sizes);
  return blame.turns.map((turn, i) => ({
    turn: turn.turn,
    commit: turn.commit,
    summary: turn.summary,
    before: turn.loss_before,
    after: turn.loss_after,
    delta: turn.exact_delta ?? turn.delta,
    exact: turn.exact_delta !== null,
    share: most > 0 ? (sizes[i] as number) / most : 0,
  }));
}

/** In words: what a turn did. Below a thousandth of a nat it did nothing. */
export function effect(delta: number | null): "taught" | "unlearned" | "nothing" | "unknown" {
  if (delta === null) return "unknown";
  if (Math.abs(delta) < 0.001) return "nothing";
  return delta < 0 ? "taught" : "unlearned";
}

/** States that a bisection looked at, in the order of the session. */
export const bisected = (found: Pick<Bisection, "steps">): Bisection["steps"] => [...found.steps].sort((a, b) => a.turn - b.turn);
