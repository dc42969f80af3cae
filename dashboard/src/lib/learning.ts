/** How a session learns, in words, and which of its options its model leaves open. Pure. */
import type { SessionOptions } from "../api/types";
import { plural } from "./format";
import { field } from "./schema";

/** What a model that learns by a rule of its own decides itself. */
export const RULE_OPTIONS = ["memory", "rank", "rule", "lr", "momentum", "clip", "inner_steps"] as const;

/** What a model with its own rule does, in a sentence. */
export const OWN_RULE_WORDS: Record<string, string> = {
  e2e: "It learns by a rule of its own: its suffix blocks' fast weights take one step after each chunk, at rates that meta-learning set. Memory and rule come with it.",
  ttt_lm: "It learns by a rule of its own: the state of its layers is its fast weights, written as it reads. Memory and rule come with it.",
};

/** Memories that write by the session's rule, as the server says; the others write by a rule of their own. */
export const byRule = (openapi: unknown): string[] => field(openapi, "SessionOptions", "memory").byRule ?? [];

export const MEMORY_WORDS: Record<string, string> = {
  linear: "A linear map of the hidden state, written by the rule.",
  low_rank: "The same of low rank: smaller.",
  head: "A change of the output layer, written by the rule.",
  delta: "Associations from hidden states to next tokens, written by the delta rule.",
  ngram: "Hashed n-grams of tokens and words, written in closed form.",
  mix: "Hashed n-grams and a change of the output layer, mixed with the model as it is; the mix is learned as it reads, too.",
};

/** How a session learns in one line. `own`: its model has its own rule; `ruled`: the memories that write by the session's. */
export function describeLearning(options: SessionOptions, own: boolean, ruled: readonly string[]): string {
  const chunks = `${options.chunk_tokens}-token chunks`;
  const mode = options.policy?.spfw.mode ?? "off";
  const spfw = mode === "off" ? "" : `, SPFW ${mode}`;
  if (own) return `its own rule, ${chunks}${spfw}`;
  const memory = options.memory === "low_rank" ? `low rank ${options.rank}` : options.memory;
  if (!ruled.includes(options.memory)) return `${memory} memory, ${chunks}${spfw}`;
  const steps = options.inner_steps > 1 ? `, ${plural(options.inner_steps, "inner step")}` : "";
  const momentum = options.momentum > 0 ? `, momentum ${options.momentum}` : "";
  return `${memory} memory, ${options.rule} at ${options.lr}${momentum}${steps}, ${chunks}${spfw}`;
}

/** The options that go with a memory: none of a rule's for one that writes by a rule of its own. */
export function forMemory(options: Record<string, unknown>, memory: string, ruled: readonly string[]): Record<string, unknown> {
  if (ruled.includes(memory)) return options;
  return "memory" in options ? { ...withoutRule(options), memory } : withoutRule(options);
}

/** The same options without what a model with its own rule refuses. */
export function withoutRule(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !(RULE_OPTIONS as readonly string[]).includes(name)));
}
