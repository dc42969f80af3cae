/** Shipped policies, and what is changed on top of one. Pure. */
import type { NamedPolicy } from "../api/types";

type Json = Record<string, unknown>;

const isRecord = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

/** The policy that a name means for a model: `default` is the one that was calibrated on it, else the plain one. */
export function resolved(list: readonly NamedPolicy[], name: string, model: string): NamedPolicy | undefined {
  const own = name === "default" ? list.find((entry) => entry.model === model) : undefined;
  return own ?? list.find((entry) => entry.name === name);
}

/** `base` with the changes laid over it, record by record. */
export function merged(base: unknown, changes: unknown): unknown {
  if (!isRecord(base) || !isRecord(changes)) return changes === undefined ? base : changes;
  const out: Json = { ...base };
  for (const [name, value] of Object.entries(changes)) out[name] = merged(base[name], value);
  return out;
}
