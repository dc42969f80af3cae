/** What a monitored text's events add up to, and how two runs differ. Pure. */
import type { MonitorEvent, MonitorOptions } from "../api/types";

export interface Tally {
  chunks: number;
  committed: number;
  blocked: number;
  rolled_back: number;
  flagged: number;
  tokens: number;
  /** Nats per token, each under the weights before it. */
  loss_mean: number | null;
  drift: number | null;
}

const known = (value: number | null | undefined): value is number => typeof value === "number" && Number.isFinite(value);

/** The figures so far of a run that has no summary yet. */
export function tally(events: readonly MonitorEvent[]): Tally {
  const sum: Tally = { chunks: events.length, committed: 0, blocked: 0, rolled_back: 0, flagged: 0, tokens: 0, loss_mean: null, drift: null };
  let nats = 0;
  let weight = 0;
  for (const event of events) {
    const size = Math.max(0, event.token_end - event.token_start);
    sum[event.decision] += 1;
    sum.flagged += event.flagged ? 1 : 0;
    sum.tokens += size;
    sum.drift = event.drift;
    if (known(event.loss)) {
      nats += event.loss * size;
      weight += size;
    }
  }
  return { ...sum, loss_mean: weight ? nats / weight : null };
}

export type Filter = "all" | "blocked" | "rolled_back" | "flagged";

export function filtered(events: readonly MonitorEvent[], filter: Filter): readonly MonitorEvent[] {
  if (filter === "all") return events;
  return events.filter((event) => (filter === "flagged" ? event.flagged : event.decision === filter));
}

const FLAG = /^flag: /;

/** Why a chunk was refused, and what was only noted, apart. */
export function told(event: MonitorEvent): { refusals: string[]; notes: string[] } {
  return {
    refusals: event.reasons.filter((reason) => !FLAG.test(reason)),
    notes: event.reasons.filter((reason) => FLAG.test(reason)).map((reason) => reason.replace(FLAG, "")),
  };
}

/** Whether chunk n of one run is the same text as chunk n of the other. */
export function aligned(a: readonly MonitorEvent[], b: readonly MonitorEvent[]): boolean {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i += 1) {
    const [left, right] = [a[i] as MonitorEvent, b[i] as MonitorEvent];
    if (left.token_start !== right.token_start || left.chunk_preview !== right.chunk_preview) return false;
    if (left.token_end !== right.token_end && i < n - 1) return false;
  }
  return true;
}

export interface Difference {
  chunk: number;
  a: MonitorEvent;
  b: MonitorEvent;
}

/** The chunks on which two runs over the same chunks decided differently. */
export function decisionDifferences(a: readonly MonitorEvent[], b: readonly MonitorEvent[]): Difference[] {
  const other = new Map(b.map((event) => [event.chunk_index, event]));
  return a.flatMap((event) => {
    const match = other.get(event.chunk_index);
    return match && match.decision !== event.decision ? [{ chunk: event.chunk_index, a: event, b: match }] : [];
  });
}

export interface OptionDifference {
  path: string;
  a: string;
  b: string;
}

/** Options in which two runs differ. A rule that is not given is the shipped one, which enforces. */
export function optionDifferences(a: MonitorOptions, b: MonitorOptions): OptionDifference[] {
  const [left, right] = [flat(a), flat(b)];
  return [...new Set([...left.keys(), ...right.keys()])].flatMap((path) => {
    const [x, y] = [left, right].map((side) => side.get(path) ?? (path.endsWith(".mode") ? "enforce" : "as shipped"));
    return x === y ? [] : [{ path, a: x as string, b: y as string }];
  });
}

function flat(value: unknown, prefix = "", out = new Map<string, string>()): Map<string, string> {
  const points = limits(value);
  if (points) out.set(prefix, points);
  else if (Array.isArray(value)) out.set(prefix, `${value.length} given`);
  else if (typeof value === "object" && value !== null) {
    for (const [name, inner] of Object.entries(value)) flat(inner, prefix ? `${prefix}.${name}` : name, out);
  } else if (value !== null && value !== undefined) out.set(prefix, typeof value === "number" ? short(value) : String(value));
  return out;
}

const short = (value: number): string => (Number.isInteger(value) ? String(value) : String(+value.toPrecision(4)));

/** A table of limits over sizes, in one line: `1.795 at 16, 2.238 at 128`; null for anything else. */
function limits(value: unknown): string | null {
  const points = typeof value === "object" && value !== null && "points" in value ? value.points : null;
  if (!Array.isArray(points)) return null;
  return (points as { size: number; limit: number }[]).map((point) => `${short(point.limit)} at ${point.size}`).join(", ");
}

/** Rules that a run did not enforce: `audit off`, `override observed`; empty where all do. */
export function relaxed(options: MonitorOptions): string[] {
  const found: string[] = [];
  for (const [path, value] of flat(options.policy)) {
    if (!path.endsWith(".mode") || value === "enforce") continue;
    const name = path.replace(/^gate\./, "").replace(/\.mode$/, "");
    found.push(`${NAMES[name] ?? name.replaceAll("_", " ")} ${value === "observe" ? "observed" : value}`);
  }
  return found;
}

/** The rules as the page calls them. */
export const NAMES: Record<string, string> = {
  audit: "Canary audit",
  drift: "Drift budget",
  cusum: "Slow rise (CUSUM)",
  spfw: "Projection (SPFW)",
  entropy: "Token entropy",
  diversity: "Token diversity",
  repetition: "Repetition",
  blob: "Encoded or minified",
  override: "Instruction override",
  ood: "Unfamiliar and heavy",
};

/** An option's path as the page calls it. */
export function optionName(path: string): string {
  if (path === "policy.name") return "Policy";
  const parts = path.split(".");
  const rule = parts.at(-2);
  if (parts.at(-1) === "mode" && rule) return NAMES[rule] ?? rule.replaceAll("_", " ");
  const named = parts.filter((part) => part !== "policy" && part !== "gate" && part !== "table").map((part) => NAMES[part] ?? part.replaceAll("_", " "));
  return named.join(", ");
}

export const MOST_BYTES = 262_144;

/** Why a dropped file cannot be monitored here, and the way that can; null where it can. */
export function fileProblem(name: string, size: number, model: string): string | null {
  if (size === 0) return `${name} is empty: choose a text with at least one word.`;
  if (size <= MOST_BYTES) return null;
  const kib = Math.round(size / 1024).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const shell = /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
  return `${name} has ${kib} KiB; this page takes 256 KiB at most. The command line takes any length, and its run is listed here: fastweights monitor --file ${shell} --model ${model}`;
}

/** The text of a file's bytes; null where they are not UTF-8. */
export function readText(data: ArrayBuffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    return null;
  }
}
