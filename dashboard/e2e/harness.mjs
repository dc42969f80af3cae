// A real server on an empty temporary store, a real Chromium, and the checks that every step shares.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
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
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(late);
    rmSync(root, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  let said = "";
  const url = await new Promise((resolve, reject) => {
    const look = (piece) => {
      said += piece;
      const hit = said.match(/http:\/\/127\.0\.0\.1:\d+/);
      if (hit) resolve(hit[0]);
    };
    child.stdout.setEncoding("utf8").on("data", look);
    child.stderr.setEncoding("utf8").on("data", look);
    void ended.then((code) => reject(new Error(`the server ended with ${code}:\n${said}`)));
    setTimeout(() => reject(new Error(`no server within 60 s:\n${said}`)), 60_000).unref();
  }).catch(async (error) => {
    await stop();
    throw error;
  });
  return { url, stop };
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

/** A page whose console errors and failed requests are kept in `page.complaints`. */
export async function openPage(browser, { url, width = 1280, height = 860, scheme = "light" }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, baseURL: url, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") page.complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => page.complaints.push(`uncaught: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) page.complaints.push(`left the machine: ${request.url()}`);
  });
  return page;
}

export function check(truth, what) {
  if (!truth) throw new Error(`not so: ${what}`);
}

export function same(got, wanted, what) {
  if (got !== wanted) throw new Error(`${what}: got ${JSON.stringify(got)}, wanted ${JSON.stringify(wanted)}`);
}

/** Waits until `read()` is truthy and gives that value. */
export async function until(read, what, timeout = 15_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await read();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${timeout / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
}

/** No accessibility violation that axe-core calls serious or critical. */
export async function axe(page, where) {
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
