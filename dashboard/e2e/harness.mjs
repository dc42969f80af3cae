// A real server on an empty temporary store, a real Chromium, and the checks that every step shares.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { isStream, slowDown } from "./slow.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
/** How long to wait for what takes a moment, and for what the server computes: a machine several times slower passes too. */
const WAIT = 30_000;
export const LONG = 120_000;

const axeSource = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** The interpreter that has the package: `FASTWEIGHTS_PYTHON`, else the checkout's. */
export function python() {
  const venv = here("../../.venv/bin/python");
  return process.env.FASTWEIGHTS_PYTHON ?? (existsSync(venv) ? venv : "python3");
}

/** `FASTWEIGHTS_URL` names a running server; without it one is started on a temporary store and a free port. */
export async function startServer() {
  if (process.env.FASTWEIGHTS_URL) return { url: process.env.FASTWEIGHTS_URL.replace(/\/$/, ""), stop: async () => undefined };
  const root = mkdtempSync(join(tmpdir(), "fastweights-e2e-"));
  const child = spawn(python(), ["-m", "fastweights", "up", "--port", "0", "--root", join(root, "store")], {
    cwd: root,
    env: { ...process.env, OMP_NUM_THREADS: "1", FASTWEIGHTS_THREADS: "1", TEXT_LM_DEVICE: "cpu" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let url;
  const stop = async () => {
    if (url) await cancelRuns(url).catch(() => undefined);
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), WAIT);
    await ended;
    clearTimeout(late);
    rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  let said = "";
  url = await new Promise((resolve, reject) => {
    const look = (piece) => {
      said += piece;
      const hit = said.match(/(http:\/\/127\.0\.0\.1:\d+)\D/);
      if (hit) resolve(hit[1]);
    };
    child.stdout.setEncoding("utf8").on("data", look);
    child.stderr.setEncoding("utf8").on("data", look);
    void ended.then((code) => reject(new Error(`the server ended with ${code}:\n${said}`)));
    setTimeout(() => reject(new Error(`no server within ${LONG / 1000} s:\n${said}`)), LONG).unref();
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url, stop };
}

/** The command line on the server's store: what it printed with `--json`. */
export async function fastweights(page, ...words) {
  const { root } = await (await page.request.get("/api/health")).json();
  const child = spawn(python(), ["-m", "fastweights", ...words, "--json", "--quiet", `--root=${root}`], {
    env: { ...process.env, OMP_NUM_THREADS: "1", FASTWEIGHTS_THREADS: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (piece) => (said += piece));
  const code = await new Promise((resolve) => child.once("close", resolve));
  same(code, 0, `exit code of fastweights ${words.join(" ")}`);
  return JSON.parse(said);
}

/** Runs outlive the server: where a step failed, those that it started are cancelled with it. */
async function cancelRuns(url) {
  const ask = (path, method) => fetch(`${url}/api/${path}`, { method, signal: AbortSignal.timeout(WAIT) });
  const going = async (path) => (await (await ask(path, "GET")).json()).filter((run) => ["running", "queued"].includes(run.status));
  for (const job of await going("text/train/jobs")) await ask(`text/train/${job.model_id}/cancel`, "POST");
  for (const run of await going("redteam")) await ask(`redteam/${run.run_id}/cancel`, "POST");
}

export async function startBrowser() {
  const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  if (!executablePath) throw new Error("no Chromium: install it, or name it in CHROMIUM");
  return chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A page whose console errors and failed requests are kept in `page.complaints`, and whose open requests in `page.pending`. */
export async function openPage(browser, { url, width = 1280, height = 860, scheme = "light" }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, baseURL: url, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  await slowDown(context, page);
  page.complaints = [];
  page.pending = new Set();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) page.complaints.push(`left the machine: ${request.url()}`);
    if (!isStream(request)) page.pending.add(request);
  });
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => page.pending.delete(request));
  return page;
}

/** Waits until the page shows what it asked for: no request is open, and nothing moves. */
export async function settled(page) {
  const frames = () =>
    page.evaluate(async () => {
      const finite = (animation) => Number.isFinite(animation.effect?.getComputedTiming().endTime);
      const moving = document.getAnimations().filter((animation) => animation.playState === "running" && finite(animation));
      await Promise.allSettled([document.fonts.ready, ...moving.map((animation) => animation.finished)]);
      for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame);
    });
  await until(async () => {
    if (page.pending.size > 0) return false;
    await frames();
    return page.pending.size === 0;
  }, "the page comes to rest");
}

export function check(truth, what) {
  if (!truth) throw new Error(`not so: ${what}`);
}

export function same(got, wanted, what) {
  if (got !== wanted) throw new Error(`${what}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
}

/** Waits until `read()` is truthy and gives that value. */
export async function until(read, what, timeout = WAIT) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await read();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${timeout / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

/** Waits until `read()` is `wanted`: what an action changes is not there the moment after it. */
export async function becomes(read, wanted, what, timeout = WAIT) {
  let got;
  await until(async () => (got = await read()) === wanted, what, timeout).catch((error) => {
    throw new Error(`${error.message}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
  });
}

/** Turns a switch by the keyboard, and waits until it stands so. */
export async function turnSwitch(page, name, on) {
  const found = page.getByRole("switch", { name });
  await becomes(() => found.isChecked(), !on, `${name} before it is turned`);
  await found.press("Space");
  await becomes(() => found.isChecked(), on, name);
}

/** The one refusal that a step asked for: the browser logs it, and it is no complaint. */
export async function refusedOnce(page, status) {
  const refusals = () => page.complaints.filter((entry) => entry.includes(`status of ${status}`));
  await until(() => refusals().length > 0, `a ${status} in the console`);
  same(refusals().length, 1, `refusals with ${status}`);
  page.complaints = page.complaints.filter((entry) => !refusals().includes(entry));
}

/** No accessibility violation that axe-core calls serious or critical. */
export async function axe(page, where) {
  await settled(page);
  await page.addScriptTag({ path: axeSource });
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations);
  const grave = found.filter((entry) => entry.impact === "serious" || entry.impact === "critical");
  const told = grave.map((entry) => `${entry.id}: ${entry.help}\n    ${entry.nodes.map((node) => `${node.target} ${node.failureSummary ?? ""}`).join("\n    ")}`);
  if (told.length) throw new Error(`axe, ${where}:\n  ${told.join("\n  ")}`);
}

/** A picture for people, where `E2E_SHOTS` names a folder. */
export async function shot(page, name) {
  const folder = process.env.E2E_SHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
