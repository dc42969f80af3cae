// Meta: the empty page, a run of a few steps of the real preset, its looks beside the API, the keyboard on them.
import { axe, becomes, check, fastweights, LONG, same, shot, until } from "./harness.mjs";

const ID = "e2e-meta";
const looks = (page) => page.locator("[data-looks]");

export async function metaEmpty(page) {
  await page.goto("/meta");
  await page.getByText("No meta-learned model yet").waitFor();
  await page.getByText("fastweights demo stream").waitFor();
  await shot(page, "meta-empty");
  await axe(page, "meta, empty");
}

export async function metaRun(page) {
  await page.getByRole("button", { name: "New run" }).first().click();
  const dialog = page.getByRole("dialog", { name: "New run of meta-learning" });
  await becomes(() => dialog.getByRole("combobox", { name: "Preset" }).inputValue(), "kv_cpu", "the preset");
  await dialog.getByRole("textbox", { name: "Steps" }).fill("3");
  await dialog.getByRole("textbox", { name: "Model id" }).fill(ID);
  await shot(page, "meta-new");
  await axe(page, "a new run of meta-learning");
  await dialog.getByRole("button", { name: "Start meta-learning" }).click();
  await page.waitForURL(new RegExp(`/meta/${ID}$`));
  await page.locator('section[data-status="done"]').waitFor({ timeout: LONG });
  const rows = await (await page.request.get(`/api/text/train/${ID}/metrics`)).json();
  const looked = rows.filter((row) => row.inner_loss);
  check(looked.length >= 2, `looks in the log: ${looked.length}`);
  await becomes(() => looks(page).getAttribute("data-looks"), String(looked.length), "looks on the page");
  await becomes(() => looks(page).getAttribute("data-look"), String(looked.at(-1).step), "the last look is on show");
  const told = (title) => page.locator(`[data-chart="${title}"]`).getAttribute("aria-label");
  const last = looked.at(-1);
  const wanted = `with updates ${last.inner_loss.at(-1).toFixed(3)}, updates off ${last.inner_loss_off.at(-1).toFixed(3)}, before meta-learning ${looked[0].inner_loss.at(-1).toFixed(3)}`;
  await until(async () => (await told("Inner loss along a sequence")).includes(wanted), `the chart tells ${wanted}`);
  await until(async () => (await told("Right answers")).includes(`far ${(100 * last.far).toFixed(1)} %`), "far answers as the API tells them");
  await becomes(() => page.locator("tr[data-rate]").count(), Object.keys(last.inner_rates).length, "tensors with a rate");
  await shot(page, "meta");
  await axe(page, "meta, a run");
}

/** The keyboard takes the look along; it is in the URL, and stays there over a reload. */
export async function metaLooks(page) {
  const slider = page.getByRole("slider", { name: "Look at step" });
  await slider.focus();
  await slider.press("Home");
  await becomes(() => looks(page).getAttribute("data-look"), "1", "the first look");
  same(new URL(page.url()).searchParams.get("look"), "1", "the look in the URL");
  await page.reload();
  await becomes(() => looks(page).getAttribute("data-look"), "1", "the first look after a reload");
  const chart = page.locator('[data-chart="Inner loss along a sequence"]');
  check(!(await chart.getAttribute("aria-label")).includes("before"), "the first look is not drawn twice");
  await page.getByRole("slider", { name: "Look at step" }).press("End");
  await until(async () => (await chart.getAttribute("aria-label")).includes("before"), "the last look beside the first");
}

/** A small stream of the real command: its report is drawn beside full attention. */
export async function metaCost(page) {
  const small = ["--context-len=96", "--query-len=32", "--window-size=16", "--chunk-size=16", "--dim=32", "--heads=2", "--layers=2"];
  const report = await fastweights(page, "demo", "stream", ...small);
  await page.goto(`/meta/${ID}`);
  await page.locator(`[data-stream="${report.stream_id}"]`).waitFor();
  const cost = page.locator('[data-chart="Cost per token"]');
  await becomes(() => cost.getAttribute("data-points"), String(report.points.length), "points of the cost");
  const told = await page.locator('[data-chart="State"]').getAttribute("aria-label");
  check(/streaming [\d.]+ k?B, full attention [\d.]+ k?B/.test(told), `both states: ${told}`);
  await cost.scrollIntoViewIfNeeded();
  await shot(page, "meta-cost");
  await axe(page, "meta, cost of a stream");
}
