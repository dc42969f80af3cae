// Train: the empty page, a run of 20 steps, a long one whose curve moves and that is cancelled and resumed, an error.
import { axe, becomes, check, LONG, refusedOnce, shot, until } from "./harness.mjs";

const chart = (page, title) => page.locator(`[data-chart="${title}"]`);
const points = async (page) => Number(await chart(page, "Loss").getAttribute("data-points"));

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
  await chart(page, "Loss").waitFor();
  await until(async () => (await points(page)) > 0, "a first point", LONG);
  await page.locator('section[data-status="done"]').waitFor({ timeout: LONG });
  await strip.getByText("20 of 20").waitFor();
  const figures = () => chart(page, "Held out").getAttribute("aria-label");
  await until(async () => /twenty \d\.\d{3}/.test(await figures()), "a held-out figure");
  await shot(page, "train-done");
}

export async function trainCancelAndResume(page) {
  await page.getByRole("textbox", { name: "Steps" }).fill("4000"); // it does not end by itself
  await page.getByRole("textbox", { name: "Model id" }).fill("long");
  await page.getByRole("button", { name: "Start training" }).click();
  const strip = page.getByRole("region", { name: "Run long" });
  await until(async () => Number.parseInt(await strip.locator("dd").first().textContent(), 10) > 0, "a first step", LONG);
  await until(async () => /Loss in .*long \d/.test(await chart(page, "Loss").getAttribute("aria-label")), "a first point", LONG);
  const first = await points(page);
  await shot(page, "train-running");
  await until(async () => (await points(page)) > first, "the curve moves", LONG);
  await strip.getByRole("button", { name: "Cancel" }).click();
  await strip.getByText("cancelled").waitFor({ timeout: LONG });
  await page.getByRole("checkbox", { name: "Show twenty in the charts" }).check();
  const overlaid = async () => (await chart(page, "Loss").getAttribute("aria-label")).match(/twenty|long/g)?.length;
  await becomes(overlaid, 2, "runs overlaid");
  check(new URL(page.url()).searchParams.get("runs").split(",").length === 2, "the overlay is in the URL");
  await shot(page, "train-overlay");
  await axe(page, "train, two runs");
  await strip.getByRole("button", { name: "Resume" }).click();
  await strip.getByText("running").waitFor({ timeout: LONG });
  await strip.getByRole("button", { name: "Cancel" }).click();
  await strip.getByText("cancelled").waitFor({ timeout: LONG });
}

export async function trainRefused(page) {
  await page.getByRole("textbox", { name: "Model id" }).fill("twenty");
  await page.getByRole("button", { name: "Start training" }).click();
  const alert = page.getByRole("form", { name: "New run" }).getByRole("alert");
  await alert.waitFor();
  check((await alert.textContent()).includes("twenty"), "the problem's detail names the id");
  await shot(page, "train-refused");
  await refusedOnce(page, 409);
}
