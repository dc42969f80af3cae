/** Numbers, times and sizes as this dashboard prints them. Pure; a missing value is an en dash. */

export const MISSING = "–";

type Maybe = number | null | undefined;

const known = (value: Maybe): value is number => typeof value === "number" && Number.isFinite(value);

/** A figure with a fixed number of decimals: `fixed(1.5, 3)` is `1.500`. */
export function fixed(value: Maybe, decimals = 3): string {
  return known(value) ? minus(value.toFixed(decimals)) : MISSING;
}

/** The same with an explicit sign: `+0.120`, `−0.120`, `0.000`. */
export function signed(value: Maybe, decimals = 3): string {
  if (!known(value)) return MISSING;
  const text = Math.abs(value).toFixed(decimals);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

/** Three significant digits, in scientific notation outside 0.001 … 99,999. Zero is `0`. */
export function figure(value: Maybe, digits = 3): string {
  if (!known(value)) return MISSING;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return minus(value.toExponential(digits - 1)).replace("e+", "e").replace("e-", "e−");
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(value.toFixed(Math.min(decimals, 6)));
}

/** Three significant digits with an explicit sign. */
export function signedFigure(value: Maybe): string {
  return (known(value) && value > 0 ? "+" : "") + figure(value);
}

/** `950`, `12.3k`, `4.56M`. */
export function count(value: Maybe): string {
  if (!known(value)) return MISSING;
  const size = Math.abs(value);
  if (size >= 1e9) return `${trim(value / 1e9)}G`;
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  return whole(value);
}

/** A whole number with thin thousands separators. */
export function whole(value: Maybe): string {
  if (!known(value)) return MISSING;
  return minus(String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f"));
}

export function bytes(value: Maybe): string {
  if (!known(value)) return MISSING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = value;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : trim(size)} ${units[unit]}`;
}

/** Seconds as `0.42 s`, `9.5 s`, `48 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`. */
export function duration(seconds: Maybe): string {
  if (!known(seconds) || seconds < 0) return MISSING;
  if (seconds < 1) return `${seconds.toFixed(2)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const total = Math.round(seconds);
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${pad(total % 60)} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${pad(Math.floor((total % 3600) / 60))} min`;
  return `${Math.floor(total / 86400)} d ${Math.floor((total % 86400) / 3600)} h`;
}

/** A chart's tick: as short as it can be told. */
export function axisTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return minus(`${+(value / 1e6).toPrecision(4)}M`);
  if (size >= 1e4) return minus(`${+(value / 1e3).toPrecision(4)}k`);
  return minus(String(+value.toPrecision(6)));
}

export function percent(value: Maybe, decimals = 0): string {
  return known(value) ? `${minus((100 * value).toFixed(decimals))} %` : MISSING;
}

/** How long ago, in words that stay true for a while: `just now`, `4 min ago`, `3 h ago`, `yesterday`, `12 Mar`. */
export function ago(iso: string | null | undefined, now: number): string {
  const then = iso ? Date.parse(iso) : Number.NaN;
  if (Number.isNaN(then)) return MISSING;
  const seconds = Math.max(0, (now - then) / 1000);
  if (seconds < 45) return "just now";
  if (seconds < 3600) return `${Math.max(1, Math.round(seconds / 60))} min ago`;
  if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
  if (seconds < 2 * 86400) return "yesterday";
  return new Date(then).toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}

/** Local time to the second, for titles and logs. */
export function clock(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? MISSING : date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

export const shortHash = (hash: string): string => hash.slice(0, 8);

/** The start of a long text, cut at a number of lines and of characters; null where it is short enough to show whole. */
export function beginning(text: string, lines = 7, characters = 700): string | null {
  const rows = text.split("\n").slice(0, lines).join("\n").slice(0, characters).trimEnd();
  return text.length - rows.length > characters / 4 ? `${rows} …` : null;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${whole(n)} ${n === 1 ? one : many}`;
}

const pad = (value: number): string => String(value).padStart(2, "0");
const trim = (value: number): string => minus(value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2));
const minus = (text: string): string => text.replace(/^-/, "−");
