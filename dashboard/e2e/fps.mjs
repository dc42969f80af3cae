// `npm run fps`: frames a second while the tree of 500 commits is scrolled, as one line of JSON. Not part of `npm run e2e`.
import { loadavg } from "node:os";
import { openPage, settled, startBrowser, startServer, until } from "./harness.mjs";

const COMMITS = 520;
const BRANCHES = 20;
const FRAMES = 240;

/** Branches of runs of one step each, all from one start. */
async function grow(url) {
  const post = async (path, body) => {
    const answer = await fetch(`${url}/api/sessions${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { root } = await post("", { session_id: "b0", mode: "nonlinear" });
  for (let branch = 0; branch < BRANCHES; branch += 1) {
    if (branch > 0) await post("/b0/fork", { name: `b${branch}`, at: root });
    for (let run = 0; run < COMMITS / BRANCHES; run += 1) await post(`/b${branch}/run`, { steps: 1 });
  }
}

/** Times between frames (ms) while wheel events move the tree to and fro. */
const scroll = (page, frames) =>
  page.evaluate(async (count) => {
    const pane = document.querySelector("[data-tree] .react-flow__pane");
    const { left, top, width, height } = pane.getBoundingClientRect();
    const times = [];
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < count; i += 1) {
      const wave = Math.floor(i / 60) % 2 === 0 ? 1 : -1;
      pane.dispatchEvent(
        new WheelEvent("wheel", { deltaX: 50 * wave, deltaY: 18 * wave, clientX: left + width / 2, clientY: top + height / 2, bubbles: true, cancelable: true }),
      );
      const now = await new Promise(requestAnimationFrame);
      times.push(now - last);
      last = now;
    }
    return times;
  }, frames);

function told(unsorted) {
  const times = [...unsorted].sort((a, b) => a - b);
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const at = (share) => +times[Math.floor(share * (times.length - 1))].toFixed(1);
  return { frames: times.length, fps: +(1000 / mean).toFixed(1), frame_ms: { median: at(0.5), p95: at(0.95), max: at(1) } };
}

const server = await startServer();
let browser;
try {
  await grow(server.url);
  browser = await startBrowser();
  const page = await openPage(browser, { url: server.url });
  await page.goto("/sessions?of=b0");
  const tree = page.locator("[data-tree]");
  await page.getByRole("button", { name: /^Draw more/ }).click();
  await until(async () => (await tree.count()) > 0 && Number(await tree.getAttribute("data-tree")) >= 500, "500 commits in the tree", 120_000);
  const view = () => page.locator("[data-tree] .react-flow__viewport").getAttribute("style");
  const before = await view();
  await scroll(page, 30); // warm
  if ((await view()) === before) throw new Error("the tree did not move");
  const near = told(await scroll(page, FRAMES));
  await page.getByRole("button", { name: "Show the whole tree" }).click();
  await settled(page);
  const whole = told(await scroll(page, FRAMES));
  console.log(JSON.stringify({ nodes: Number(await tree.getAttribute("data-tree")), near, whole, load: +loadavg()[0].toFixed(1) }));
} finally {
  await browser?.close();
  await server.stop();
}
