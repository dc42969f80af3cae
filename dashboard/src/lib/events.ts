/** What a turn's chunk events add up to. Pure. */
import type { ChunkEvent, Decision } from "../api/types";

export interface Reason {
  text: string;
  decision: Decision;
  count: number;
}

export interface Learning {
  chunks: number;
  tokens: number;
  /** Mean nats per token over the chunks that have both figures, weighted by tokens. */
  lossBefore: number | null;
  lossAfter: number | null;
  /** The largest gradient norm of a chunk. */
  gradNorm: number | null;
  /** Sums over chunks of the norms proposed and really written. */
  attempted: number | null;
  written: number;
  /** Mean share of the proposals' norm that SPFW removed; null where it never ran. */
  projected: number | null;
  counts: Record<Decision, number>;
  reasons: Reason[];
}

const present = (value: number | null | undefined): value is number => typeof value === "number" && Number.isFinite(value);

export function summarize(events: readonly ChunkEvent[]): Learning {
  const counts: Record<Decision, number> = { committed: 0, blocked: 0, rolled_back: 0 };
  const reasons = new Map<string, { decision: Decision; texts: string[] }>();
  let tokens = 0;
  let weight = 0;
  let before = 0;
  let after = 0;
  for (const event of events) {
    counts[event.decision] += 1;
    const size = Math.max(0, event.token_end - event.token_start);
    tokens += size;
    if (present(event.loss) && present(event.loss_after) && size > 0) {
      weight += size;
      before += size * event.loss;
      after += size * event.loss_after;
    }
    if (event.decision === "committed") continue;
    for (const text of event.reasons) {
      const key = `${event.decision} ${text.replace(NUMBER, "#")}`;
      const seen = reasons.get(key);
      if (seen) seen.texts.push(text);
      else reasons.set(key, { decision: event.decision, texts: [text] });
    }
  }
  const gradients = events.map((event) => event.grad_norm).filter(present);
  const attempts = events.map((event) => event.attempted_update_norm).filter(present);
  const projections = events.map((event) => event.projected_fraction).filter(present);
  return {
    chunks: events.length,
    tokens,
    lossBefore: weight ? before / weight : null,
    lossAfter: weight ? after / weight : null,
    gradNorm: gradients.length ? Math.max(...gradients) : null,
    attempted: attempts.length ? sum(attempts) : null,
    written: sum(events.map((event) => event.update_norm)),
    projected: projections.length ? sum(projections) / projections.length : null,
    counts,
    reasons: [...reasons.values()]
      .map(({ decision, texts }) => ({ decision, text: spanned(texts), count: texts.length }))
      .sort((a, b) => b.count - a.count),
  };
}

const NUMBER = /[-+−]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g;

/** Texts that differ in their numbers as one: `rose by 0.3 nats` and `rose by 0.5 nats` are `rose by 0.3 to 0.5 nats`. */
export function spanned(texts: readonly string[]): string {
  const numbers = texts.map((text) => text.match(NUMBER) ?? []);
  let place = -1;
  return (texts[0] ?? "").replace(NUMBER, (first) => {
    place += 1;
    const column = numbers.map((row) => row[place] ?? first).sort((a, b) => Number(a) - Number(b));
    const [low, high] = [column[0] as string, column.at(-1) as string];
    return low === high ? first : `${low} to ${high}`;
  });
}

/** Share of the drift budget that is used, in 0 … 1; null where either is unknown. */
export function budgetShare(drift: number | null | undefined, budget: number | null | undefined): number | null {
  if (!present(drift) || !present(budget) || budget <= 0) return null;
  return Math.min(1, Math.max(0, drift / budget));
}

export const DECISION_LABEL: Record<Decision, string> = {
  committed: "committed",
  blocked: "blocked",
  rolled_back: "rolled back",
};

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
