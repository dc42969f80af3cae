// Train: the empty page, a run of 20 steps whose curve moves, a run that is cancelled and resumed, an error.
import { axe, check, same, shot, until } from "./harness.mjs";

const points = async (page, chart) => Number(await page.locator(`[data-chart="${chart}"]`).getAttribute("data-points"));

export async function trainEmpty(page) {
  await page.goto("/train");
  await page.getByText("No run yet").waitFor();
  await shot(page, "train-empty");
  await axe(page, "train, empty");
}

export async function trainTwentySteps(page) {
  await page.getByRole("combobox", { name: "Corpus" }).fill("tiny");
  await page.getByRole("textbox", { name: "Steps" }).fill("20");
  await page.getByRole("textbox", { name: "Model id" }).fill("twenty");
  await page.getByRole("button", { name: "Start training" }).click();
  const strip = page.getByRole("region", { name: "Run twenty" });
  await strip.waitFor();
  await until(async () => (await page.locator('[data-chart="Loss"]').count()) > 0 && (await points(page, "Loss")) >= 1, "a first point", 30_000);
  const first = await points(page, "Loss");
  await shot(page, "train-running");
  await until(async () => (await points(page, "Loss")) > first, "the curve moves", 30_000);
  await page.locator('section[data-status="done"]').waitFor({ timeout: 30_000 });
  await strip.getByText("20 of 20").waitFor();
  const label = await page.locator('[data-chart="Held-out text"]').getAttribute("aria-label");
  check(/twenty \d\.\d{3}/.test(label), `a held-out figure in ${label}`);
  await shot(page, "train-done");
}

export async function trainCancelAndResume(page) {
  await page.getByRole("textbox", { name: "Steps" }).fill("400");
  await page.getByRole("textbox", { name: "Model id" }).fill("long");
  await page.getByRole("button", { name: "Start training" }).click();
  const strip = page.getByRole("region", { name: "Run long" });
  await until(async () => Number((await strip.locator("dd").first().textContent()).split(" ")[0]) > 0, "a first step", 30_000);
  await strip.getByRole("button", { name: "Cancel" }).click();
  await strip.getByText("cancelled").waitFor();
  await page.getByRole("checkbox", { name: "Show twenty in the charts" }).check();
  check((await page.locator('[data-chart="Loss"]').getAttribute("aria-label")).match(/twenty|long/g).length === 2, "two runs overlaid");
  check(new URL(page.url()).searchParams.get("runs").split(",").length === 2, "the overlay is in the URL");
  await shot(page, "train-overlay");
  await axe(page, "train, two runs");
  await strip.getByRole("button", { name: "Resume" }).click();
  await strip.getByText("running").waitFor();
  await strip.getByRole("button", { name: "Cancel" }).click();
  await strip.getByText("cancelled").waitFor();
}

export async function trainRefused(page) {
  await page.getByRole("textbox", { name: "Model id" }).fill("twenty");
  await page.getByRole("button", { name: "Start training" }).click();
  const alert = page.getByRole("form", { name: "New run" }).getByRole("alert");
  await alert.waitFor();
  check((await alert.textContent()).includes("twenty"), "the problem's detail names the id");
  await shot(page, "train-refused");
  same(page.complaints.filter((entry) => entry.includes("409")).length, 1, "refused once");
  page.complaints = page.complaints.filter((entry) => !entry.includes("409")); // the browser logs the refusal we asked for
}
