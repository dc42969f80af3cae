// Nano: a session whose guard refuses, its run and curves, weights, transactions, physics step by step, the diagram.
import { axe, becomes, check, LONG, refusedOnce, same, settled, shot, until } from "./harness.mjs";

const ID = "e2e-tight";
const TABS = ["overview", "weights", "transactions", "physics", "architecture"];
const api = async (page, path) => (await page.request.get(`/api/${path}`)).json();
const tab = (page, name) => page.getByRole("navigation", { name: "Parts of Nano" }).getByRole("link", { name }).click();
const near = (got, wanted) => Math.abs(got - wanted) <= 0.01 * Math.abs(wanted);
/** The dashboard's minus and powers as JavaScript reads them. */
const numberIn = (text) => Number(text.replace("−", "-").replace("e−", "e-"));

export async function nanoRun(page) {
  await page.goto("/nano");
  await page.waitForURL(/\/nano\/nano-demo[a-z-]*\/overview/); // the demo store's sessions
  await page.locator('[data-chart="Prediction error"]').waitFor();
  await page.getByRole("button", { name: "New session" }).click();
  const dialog = page.getByRole("dialog", { name: "New session of Nano" });
  await dialog.getByRole("textbox", { name: "Id", exact: true }).fill(ID);
  await dialog.getByRole("combobox", { name: "World" }).click();
  await page.getByRole("option", { name: "nonlinear" }).click(); // its base is in the demo store
  await dialog.getByRole("textbox", { name: "Seed" }).fill("5");
  await dialog.getByRole("combobox", { name: "Rule" }).click();
  await page.getByRole("option", { name: "sgd" }).click();
  await dialog.getByRole("textbox", { name: "Learning rate" }).fill("0.05");
  await dialog.locator("summary").click();
  await dialog.getByRole("textbox", { name: "Gradient cap" }).fill("0.09");
  await dialog.getByRole("textbox", { name: "Error after / before" }).fill("0.9");
  await shot(page, "nano-new");
  await axe(page, "a new session of Nano");
  await dialog.getByRole("button", { name: "Start session" }).click();
  await page.waitForURL(new RegExp(`/nano/${ID}/overview`));
  await page.getByText("No run yet", { exact: true }).waitFor();
  await run(page, 1500);
  const { runs } = await api(page, `sessions/${ID}`);
  same(runs.length, 1, "runs of the session");
  check(runs[0].rolled_back > 0 && runs[0].committed > 0, `kept and refused: ${JSON.stringify(runs[0])}`);
  const chart = page.locator('[data-chart="Prediction error"]');
  await becomes(() => chart.getAttribute("data-marks"), "46", "marks of the writes");
  same(await chart.getAttribute("data-points"), "47", "points: 1,500 steps in blocks of 32");
  const told = numberIn(await page.locator("[data-cards] dd").first().textContent().then((text) => text.split(" ")[0]));
  check(near(told, runs[0].adaptive_mse), `the error of the API: ${told} and ${runs[0].adaptive_mse}`);
}

async function run(page, steps) {
  const form = page.getByRole("form", { name: "Run" });
  const before = (await form.locator("[data-ended]").count()) ? await form.locator("[data-ended]").getAttribute("data-ended") : null;
  await form.getByRole("textbox", { name: "Steps" }).fill(String(steps));
  await form.getByRole("button", { name: "Run" }).click();
  await until(async () => {
    const ended = form.locator("[data-ended]");
    return (await ended.count()) > 0 && (await ended.getAttribute("data-ended")) !== before;
  }, "the run ends");
  await form.getByRole("button", { name: "Run" }).waitFor();
}

/** A second run, a fork and a reset; what is pointed at is marked wherever it is shown. */
export async function nanoLineage(page) {
  await run(page, 320);
  const { runs } = await api(page, `sessions/${ID}`);
  const first = runs[0];
  const mark = page.locator(`[data-commit="${first.commit}"]`);
  const band = () => page.locator('[data-chart="Prediction error"]').getAttribute("data-band");
  await page.locator(`tr[data-run="${first.run_id}"]`).hover();
  await becomes(() => mark.getAttribute("data-marked"), "true", "the tree marks the run that is pointed at");
  await becomes(band, "run 1", "the curves mark it");
  await becomes(() => page.locator("[data-cards]").getAttribute("data-cards"), first.commit, "the cards are its own");
  await page.getByRole("heading", { name: "Nano", exact: true }).hover();
  await becomes(band, null, "nothing is pointed at");
  await mark.focus();
  await becomes(band, "run 1", "the focus marks as the pointer does");

  await mark.click();
  const details = page.locator("[data-details]");
  await becomes(() => details.getAttribute("data-details"), first.commit, "the commit on show");
  await details.getByRole("button", { name: "Fork", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("textbox").fill("e2e-branch");
  await dialog.getByRole("button", { name: "Fork" }).click();
  await page.waitForURL(/\/nano\/e2e-branch\/overview/);
  await dialog.waitFor({ state: "detached" });
  await becomes(() => details.getAttribute("data-details"), first.commit, "the fork stands at the commit");
  await details.getByRole("button", { name: "Reset to this", exact: true }).click();
  await dialog.getByRole("button", { name: "Reset" }).click();
  await details.getByRole("heading", { name: "reset" }).waitFor();
}

/** The fork takes its run back; a second time is refused. */
export async function nanoRevert(page) {
  const [run] = (await api(page, `sessions/${ID}`)).runs;
  const details = page.locator("[data-details]");
  const dialog = page.getByRole("dialog");
  const ask = async () => {
    await page.locator(`[data-commit="${run.commit}"]`).click();
    await becomes(() => details.getAttribute("data-details"), run.commit, "the run on show");
    await details.getByRole("button", { name: "Revert", exact: true }).click();
    await dialog.getByText("lived through frozen").waitFor();
  };
  await ask();
  await shot(page, "nano-revert");
  await axe(page, "the question before a revert");
  await dialog.getByRole("button", { name: "Revert" }).click();
  await dialog.waitFor({ state: "detached", timeout: LONG });
  const { head, runs } = await api(page, "sessions/e2e-branch");
  await becomes(() => details.getAttribute("data-details"), head, "the new head on show");
  await details.getByRole("heading", { name: "revert" }).waitFor();
  same(runs[0].reverted, true, "the run is reverted");
  await page.locator(`tr[data-run="${run.run_id}"]`).getByText("reverted").waitFor();
  await shot(page, "nano-reverted");
  await ask();
  await dialog.getByRole("button", { name: "Revert" }).click();
  await dialog.getByRole("alert").waitFor();
  await refusedOnce(page, 409);
  await shot(page, "nano-revert-refused");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.goto(`/nano/${ID}/overview`);
  await becomes(() => page.locator("[data-runs]").getAttribute("data-runs"), "2", "runs in the curves");
}

export async function nanoWeights(page) {
  await tab(page, "Weights");
  const shown = page.locator("[data-weights]");
  await shown.waitFor();
  const found = await api(page, `sessions/${ID}/weights`);
  for (const matrix of found.matrices) {
    const panel = page.locator(`[data-matrix="${matrix.name}"]`);
    same(await panel.locator("[data-map]").first().getAttribute("data-cells"), String(matrix.shape[0] * matrix.shape[1]), `cells of ${matrix.name}`);
    same(await panel.locator("[data-spectrum]").getAttribute("data-spectrum"), String(matrix.singular_values.length), `singular values of ${matrix.name}`);
    const drift = numberIn(await panel.locator('[data-drift="the base model"] td').first().textContent());
    check(near(drift, matrix.from_base.l2), `drift of ${matrix.name}: ${drift} and ${matrix.from_base.l2}`);
  }
  await page.locator('[data-matrix="a_raw"] [data-map]').first().waitFor();
  const map = page.locator('[data-matrix="B"]').getByRole("application").first();
  await map.focus();
  await map.press("ArrowDown");
  await map.press("ArrowRight");
  const entry = found.matrices.find((matrix) => matrix.name === "B").values[0][1];
  const said = page.locator('[data-matrix="B"] [role=status]').first();
  await until(async () => (await said.textContent()).startsWith("row 0, column 1"), "the arrow keys read an entry");
  check(near(numberIn((await said.textContent()).split(": ")[1]), entry), `entry ${entry}`);
  const stop = page.locator("[data-stop]").nth(1);
  await stop.focus();
  await stop.press("ArrowLeft");
  await becomes(() => shown.getAttribute("data-weights"), (await api(page, `sessions/${ID}`)).root, "the arrow leads to the start");
  await becomes(() => shown.getAttribute("data-against"), "base", "the start has no parent: the base stands in");
  await becomes(() => page.locator("[data-same]").count(), found.matrices.length, "matrices that are the base's");
  await shot(page, "nano-weights-start");
  await page.goto(`/nano/${ID}/weights`);
  await shown.waitFor();
}

export async function nanoTransactions(page) {
  await tab(page, "Transactions");
  await page.locator("[data-timeline]").waitFor();
  const found = await api(page, `sessions/${ID}/updates`);
  same(await page.locator("[data-timeline]").getAttribute("data-timeline"), String(found.total), "writes in the timeline");
  check((await page.locator('[data-share="rolled_back"]').textContent()).includes(String(found.rolled_back)), "share of those rolled back");
  const refused = found.updates.find((update) => update.status === "rolled_back");
  await page.getByText(`Rolled back ${found.rolled_back}`, { exact: true }).click();
  await becomes(() => page.locator('[data-write]:not([data-status="rolled_back"])').count(), 0, "other rows");
  const sentence = await page.locator(`[data-write="${refused.t}"] [data-sentence]`).textContent();
  same(sentence, refused.sentence, "the sentence of a rollback");
  check(/^The weights were put back: .+\.$/.test(sentence), sentence);
  const column = page.getByRole("button", { name: "Gradient" });
  await column.click();
  await until(async () => (await page.locator('th[aria-sort="descending"]').textContent()).startsWith("Gradient"), "order by the gradient");
  const norms = await page.locator("[data-write] td:nth-child(4)").allTextContents();
  const values = norms.map(numberIn);
  check(values.every((value, i) => i === 0 || value <= values[i - 1]), `largest first: ${norms}`);
  await page.locator("[data-stop]").nth(1).hover();
  await page.locator("[data-timeline] g[data-marked]").waitFor({ state: "attached" });
  await becomes(() => page.locator('[data-chart="Gradient"]').getAttribute("data-band"), "run 1", "the charts mark the commit");
  await page.locator("[data-write] button").first().click();
  await until(async () => new URL(page.url()).searchParams.has("t"), "the write on show is in the URL");
}

export async function nanoPhysics(page) {
  await tab(page, "Physics");
  const shown = page.locator("[data-simulation]");
  const step = () => shown.getAttribute("data-step");
  await shown.waitFor();
  const { head } = await api(page, `sessions/${ID}`);
  same(await shown.getAttribute("data-simulation"), head, "the weights that simulate");
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowLeft");
  await becomes(step, "2", "the arrow keys step");
  await page.keyboard.press("Space");
  await until(async () => Number(await step()) > 4, "it plays");
  await page.keyboard.press("Space");
  await becomes(() => shown.getAttribute("data-playing"), "false", "it stands");
  await page.getByRole("slider", { name: "Step" }).fill("120");
  await becomes(step, "120", "the scrubber");
  await until(async () => new URL(page.url()).searchParams.get("step") === "120", "the step is in the URL");
  const base = () => page.locator('[data-error="base"]').textContent();
  const before = await base();
  await page.getByRole("slider", { name: "Friction μ" }).fill("0.3");
  await becomes(() => shown.getAttribute("data-mu"), "0.3", "the server simulated that friction");
  await until(async () => (await base()) !== before, "other errors");
  const body = { session: ID, mu: 0.3, seed: 5, steps: 200 };
  const found = await (await page.request.post("/api/nano/simulate", { data: body })).json();
  const told = numberIn((await base()).match(/mean (\S+)/)[1]);
  check(near(told, found.baseline.mean_mse), `the base's error of the API: ${told} and ${found.baseline.mean_mse}`);
  await page.reload();
  await becomes(step, "120", "the step after a reload");
  same(await shown.getAttribute("data-mu"), "0.3", "the friction after a reload");
}

export async function nanoArchitecture(page) {
  await tab(page, "Architecture");
  await page.locator("[data-nodes]").waitFor();
  const model = await api(page, `nano/model?session=${ID}`);
  same(await page.locator("[data-nodes]").getAttribute("data-nodes"), String(model.nodes.length), "nodes of the diagram");
  same(await page.locator("[data-nodes]").getAttribute("data-edges"), String(model.edges.length), "edges of the diagram");
  const names = await page.locator("[data-parameter]").evaluateAll((rows) => rows.map((row) => row.dataset.parameter));
  same(names.join(), model.parameters.map((parameter) => parameter.name).join(), "parameters");
}

const DARK = ["overview", "physics"];
const READY = { overview: "[data-details]", weights: "[data-weights]", transactions: "[data-timeline]", physics: "[data-simulation]", architecture: "[data-nodes]" };

/** Each page in both themes, first in that of the page before, last in light; axe reads all in light, and in dark two of them. */
export async function nanoThemes(page) {
  await page.goto(`/nano/${ID}/overview`);
  for (const [i, name] of TABS.entries()) {
    await tab(page, name);
    await page.locator(READY[name]).waitFor();
    for (const scheme of i % 2 === 0 ? ["dark", "light"] : ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await becomes(() => page.evaluate(() => document.documentElement.dataset.mantineColorScheme), scheme, "scheme of the system");
      await settled(page);
      await shot(page, `nano-${name}-${scheme}`);
      if (scheme === "light" || DARK.includes(name)) await axe(page, `Nano ${name}, ${scheme}`);
    }
  }
}

async function open(page, name) {
  await page.goto(`/nano/${ID}/${name}`);
  await page.locator(READY[name]).waitFor();
  await settled(page);
}

/** At 380 px; `tooWide` is the check of every page. */
export async function nanoNarrow(page, tooWide) {
  for (const name of TABS) {
    await open(page, name);
    await tooWide(page, `Nano ${name}`);
    await shot(page, `narrow-nano-${name}`);
  }
  await axe(page, "Nano at 380 px");
}
