// Slow mode, to expose races: answers of the API that come late, and a page on a slower CPU.
//   E2E_DELAY_MS=N  every answer of the API comes 0 to N ms late: one half before the server hears of the request, the
//                   other after it has answered. A stream is late before its first byte.
//   E2E_SEED=S      the seed of these times; without it one is drawn. It is printed.
//   E2E_CPU=K       the page computes K times as slowly.
const delay = number("E2E_DELAY_MS", 0);
const cpu = number("E2E_CPU", 1);
const seed = number("E2E_SEED", Date.now() % 1_000_000);
let state = seed;

function number(name, standard) {
  const value = Number(process.env[name] ?? standard);
  if (!(value >= 0)) throw new Error(`${name}: ${process.env[name]} is not a number of 0 or more`);
  return value;
}

/** Uniform in 0 to 1 (mulberry32). */
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export const isStream = (request) => (request.headers().accept ?? "").includes("text/event-stream");

if (delay || cpu > 1) console.log(`slow mode: E2E_DELAY_MS=${delay} E2E_CPU=${cpu} E2E_SEED=${seed}`);

async function late(route) {
  const half = (random() * delay) / 2;
  try {
    await sleep(half);
    if (isStream(route.request())) {
      await sleep(half);
      return await route.continue();
    }
    const response = await route.fetch({ timeout: 0 });
    await sleep(half);
    await route.fulfill({ response });
  } catch {
    await route.abort().catch(() => undefined); // the page has left, or the server ended
  }
}

export async function slowDown(context, page) {
  if (delay) await context.route(/\/(api\/|openapi\.json)/, late);
  if (cpu > 1) await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate: cpu });
}
