/** What speaks for and against a sleep candidate, and what can be decided on it. Pure. */
import type { SleepCandidate, SleepManifest, SleepRequest } from "../api/types";

export type Verdict = "approve" | "reject" | "revert";

/** What each status allows; a run under way or one that left nothing cannot be decided on. */
export function verdictsOf(status: SleepCandidate["status"]): Verdict[] {
  if (status === "sleep_candidate") return ["approve", "reject"];
  return status === "ready" || status === "rejected" ? ["revert"] : [];
}

export const MODE_NAME: Record<SleepManifest["mode"], string> = {
  delta: "what the fast weights know, selectively",
  replay: "replay of what was said",
};

export interface Difference {
  name: string;
  unit: string;
  before: number;
  after: number;
  /** Lower is better in all of them. */
  change: number;
}

const difference = (name: string, unit: string, before: number, after: number): Difference => ({ name, unit, before, after, change: after - before });

/** The evaluation's differences: held-out core text first, then what was trained on. */
export function differencesOf(manifest: Pick<SleepManifest, "kind" | "core" | "core_before" | "core_after" | "mix_before" | "mix_after" | "unit">): Difference[] {
  const core = manifest.kind === "nano" ? "MSE" : "bits per byte";
  return [
    difference(manifest.kind === "nano" ? "Other worlds, held out" : `Core text, held out (${manifest.core})`, core, manifest.core_before, manifest.core_after),
    difference("What it was trained on, mixed", manifest.kind === "nano" ? manifest.unit : core, manifest.mix_before, manifest.mix_after),
  ];
}

/** Whether held-out core text stayed within the bound that was asked for; null where none applies (replay has no bound). */
export function withinBound(manifest: Pick<SleepManifest, "kind" | "mode" | "core_before" | "core_after" | "request">): boolean | null {
  const most = manifest.request.max_core_rise;
  if (manifest.kind === "nano") return manifest.core_after <= manifest.core_before * (1 + most);
  return manifest.mode === "delta" ? manifest.core_after - manifest.core_before <= most : null;
}

/** Parts by the size of what they kept, the largest first; those that kept nothing last. */
export const partsByKept = (parts: SleepManifest["parts"]): SleepManifest["parts"] => [...parts].sort((a, b) => b.scale * b.change - a.scale * a.change || a.name.localeCompare(b.name));

export interface Tally {
  committed: number;
  blocked: number;
  rolled_back: number;
}

export function tally(writes: SleepManifest["writes"]): Tally {
  const counts: Tally = { committed: 0, blocked: 0, rolled_back: 0 };
  for (const write of writes) counts[write.decision] += 1;
  return counts;
}

const FLAGS: readonly (keyof SleepRequest)[] = ["mode", "base_model_id", "max_memories", "core_path", "core_ratio", "seq_len", "train_steps", "lr", "max_core_rise", "seed", "nano"];

/** The command line that does the same. Fields left alone are left out. */
export function command(request: Partial<SleepRequest>): string {
  const given = FLAGS.filter((name) => request[name] !== undefined && request[name] !== null);
  const words = given.map((name) => `--${name.replaceAll("_", "-")} ${quoted(String(request[name]))}`);
  return ["fastweights sleep", ...words, ...(request.model_id ? [`--model-id ${request.model_id}`] : [])].join(" ");
}

const quoted = (text: string): string => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
