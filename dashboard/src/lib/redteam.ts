/** What a red team report says, in the words and figures of its page. Pure. */
import type { RedteamAttempt, RedteamReport } from "../api/types";
import { NAMES } from "./monitor";

const FAMILIES: Record<string, string> = {
  repetition: "Repetition",
  cycles: "Cycles",
  blobs: "Blobs",
  override: "Override",
  drip: "Drip",
  drip_shuffled: "Drip, shuffled",
  gradient: "Gradient search",
  adaptive: "Adaptive search",
};

const SCORES: Record<string, string> = {
  gate: "Gate",
  loss: "Loss",
  grad_norm: "Gradient norm",
  misalignment: "Canary misalignment",
  canary_delta: "Canary rise",
  drift: "Drift",
  cusum: "Slow rise (CUSUM)",
};

const plain = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

export const familyName = (name: string): string => FAMILIES[name] ?? plain(name);
export const scoreName = (name: string): string => SCORES[name] ?? plain(name);

/** `gate+spfw` is "Without input gate and projection (SPFW)". */
export function defenceName(off: string): string {
  if (off === "none") return "Full policy";
  if (off === "all") return "No defence";
  const parts = off.split("+").map((part) => (part === "gate" ? "input gate" : (NAMES[part] ?? part)));
  return `Without ${parts.map((part) => part.charAt(0).toLowerCase() + part.slice(1)).join(" and ")}`;
}

export interface Attack {
  model: string;
  policy: string;
  budget: number;
  chunk_tokens?: number | null;
  lr?: number;
  seeds?: number | null;
}

/** The command line that does the same. */
export function command(attack: Attack): string {
  const options: [string, unknown][] = [
    ["model", attack.model],
    ["policy", quoted(attack.policy)],
    ["budget", attack.budget],
    ["chunk-tokens", attack.chunk_tokens],
    ["lr", attack.lr],
    ["seeds", attack.seeds],
  ];
  const given = options.filter(([, value]) => value !== undefined && value !== null);
  return ["fastweights redteam", ...given.map(([name, value]) => `--${name} ${value}`)].join(" ");
}

const quoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** The command line of a report. */
export const reproduce = (report: RedteamReport): string => command({ ...report, seeds: report.seeds.length });

export type Outcome = "succeeded" | "stopped" | "failed";

/** `succeeded`: the attack reached its goal. `stopped`: it did not, and the guard refused some of it. */
export function outcome(attempt: RedteamAttempt): Outcome {
  if (attempt.success_at !== null) return "succeeded";
  return attempt.stopped ? "stopped" : "failed";
}

/** In words: what came of an attempt. */
export function outcomeWords(attempt: RedteamAttempt): string {
  const at = `at step ${attempt.success_at}`;
  const kind = outcome(attempt);
  if (kind === "succeeded") return attempt.goal === "pass" ? `passed ${at}` : `did harm ${at}`;
  if (kind === "stopped") return "refused";
  return attempt.goal === "pass" ? "nothing passed" : "did no harm";
}

/** Places of budgets on a logarithmic axis, 0 to 1. A lone budget stands at the right end. */
export function budgetPlaces(budgets: readonly number[]): number[] {
  const logs = budgets.map((budget) => Math.log2(Math.max(1, budget)));
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  return logs.map((log) => (high > low ? (log - low) / (high - low) : 1));
}

/** The most attack chunks that a score finds while it flags at most `alarms` of the benign ones. */
export function detectionAt(falseAlarms: readonly number[], detections: readonly number[], alarms: number): number {
  return falseAlarms.reduce((most, share, i) => (share <= alarms ? Math.max(most, detections[i] ?? 0) : most), 0);
}

/** Distinct values in the order of their first appearance. */
export const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];
