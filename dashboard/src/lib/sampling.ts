/** How the next reply is drawn, as the page keeps it between visits. Pure. */

export interface SamplingChoice {
  temperature?: number;
  top_p?: number;
  max_new_tokens?: number;
  /** None: a new one for every message. */
  seed?: number;
}

/** What was kept, cleaned of anything that is not a number. */
export function readSampling(kept: unknown): SamplingChoice {
  const source = typeof kept === "object" && kept !== null ? (kept as Record<string, unknown>) : {};
  const choice: SamplingChoice = {};
  for (const name of ["temperature", "top_p", "max_new_tokens", "seed"] as const) {
    const value = source[name];
    if (typeof value === "number" && Number.isFinite(value)) choice[name] = value;
  }
  return choice;
}

/** A seed in the API's range, from a number in [0, 1). */
export const seedFrom = (random: number): number => Math.floor(random * 2 ** 31);

export function describeSampling(choice: SamplingChoice, defaults: SamplingChoice): string {
  const all = { ...defaults, ...choice };
  const parts = [
    all.temperature === 0 ? "greedy" : all.temperature !== undefined && `temperature ${all.temperature}`,
    all.temperature !== 0 && all.top_p !== undefined && `top-p ${all.top_p}`,
    all.max_new_tokens !== undefined && `${all.max_new_tokens} tokens`,
    choice.seed === undefined ? "new seed each time" : `seed ${choice.seed}`,
  ];
  return parts.filter(Boolean).join(" · ");
}
