/** A run of meta-learning as its log tells it: looks at held-out sequences, curves along a sequence, inner rates. Pure. */

/** What a row of the log has where the run looked at held-out text; all null in the rows between. */
export interface Looked {
  step: number;
  val_bpb?: number | null;
  val_bpb_off?: number | null;
  far?: number | null;
  near?: number | null;
  inner_loss?: readonly (number | null)[] | null;
  inner_loss_off?: readonly (number | null)[] | null;
  inner_rates?: Readonly<Record<string, number | null>> | null;
}

const known = <T>(value: T | null | undefined): value is T => value !== null && value !== undefined;

/** The rows in which the run looked up, oldest first. */
export const looksOf = <P extends Looked>(points: readonly P[]): P[] => points.filter((point) => known(point.val_bpb) || known(point.inner_loss) || known(point.inner_rates));

/** The last look at or before that step, else the first one; the last of all where no step is named. */
export function lookAt<P extends Looked>(looks: readonly P[], step: number | null): P | undefined {
  if (step === null) return looks.at(-1);
  return looks.findLast((look) => look.step <= step) ?? looks[0];
}

export interface Along {
  name: "before" | "after" | "off";
  /** The first chunk is 1. */
  x: number[];
  y: (number | null)[];
}

/** Loss along a sequence, a chunk at a time: at the look on show, at that one with updates off, and at the first look. */
export function alongSequence(looks: readonly Looked[], shown: Looked | undefined): Along[] {
  const first = looks.find((look) => known(look.inner_loss));
  const curve = (name: Along["name"], values: Looked["inner_loss"]): Along[] =>
    values?.length ? [{ name, x: values.map((_, i) => i + 1), y: [...values] }] : [];
  return [...curve("after", shown?.inner_loss), ...curve("off", shown?.inner_loss_off), ...(first === shown ? [] : curve("before", first?.inner_loss))];
}

/** By how much the loss fell from the first chunk to the last. */
export function fallOf(values: Looked["inner_loss"]): number | null {
  const [first, last] = [values?.[0], values?.at(-1)];
  return values && values.length > 1 && known(first) && known(last) ? first - last : null;
}

export interface Rate {
  tensor: string;
  /** The tensor without what all have in common. */
  short: string;
  first: number;
  last: number;
  x: number[];
  y: number[];
}

/** One curve a tensor, the one that moved most (by factor) first. */
export function ratesOf(looks: readonly Looked[]): Rate[] {
  const withRates = looks.filter((look) => known(look.inner_rates));
  const tensors = Object.keys(withRates.at(-1)?.inner_rates ?? {});
  const short = shortNames(tensors);
  const rates = tensors.map((tensor, i): Rate => {
    const points = withRates.flatMap((look): [number, number][] => {
      const rate = look.inner_rates?.[tensor];
      return known(rate) ? [[look.step, rate]] : [];
    });
    return {
      tensor,
      short: short[i] as string,
      first: points[0]?.[1] ?? Number.NaN,
      last: points.at(-1)?.[1] ?? Number.NaN,
      x: points.map(([step]) => step),
      y: points.map(([, rate]) => rate),
    };
  });
  return rates.sort((a, b) => moved(b) - moved(a) || a.tensor.localeCompare(b.tensor));
}

const moved = ({ first, last }: Rate): number => (first > 0 && last > 0 ? Math.abs(Math.log(last / first)) : 0);

/** Dotted names without the parts that all of them share; a lone name keeps its last two. */
export function shortNames(names: readonly string[]): string[] {
  const parts = names.map((name) => name.split("."));
  if (parts.length === 0) return [];
  if (parts.length === 1) return [(parts[0] as string[]).slice(-2).join(".")];
  const shared = (i: number, from: (list: string[], i: number) => string | undefined): boolean => parts.every((list) => list.length > i + 1 && from(list, i) === from(parts[0] as string[], i));
  let head = 0;
  while (shared(head, (list, i) => list[i])) head += 1;
  let tail = 0;
  while (shared(tail, (list, i) => list.at(-1 - i)) && parts.every((list) => list.length > head + tail + 1)) tail += 1;
  return parts.map((list) => list.slice(head, list.length - tail).join("."));
}
