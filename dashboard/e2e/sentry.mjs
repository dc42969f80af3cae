// Sentry: the demo through the toy, a run that is still there after a reload, two policies on one attack, a file too large.
import { axe, check, same, shot, until } from "./harness.mjs";

const form = (page) => page.getByRole("form", { name: "New monitor run" });
const rows = (page) => page.locator("tr[data-chunk]");

export async function sentryEmpty(page) {
  await page.goto("/sentry");
  await page.getByText("No run yet").waitFor();
  await shot(page, "sentry-empty");
  await axe(page, "sentry, empty");
}

export async function sentryDemo(page) {
  await form(page).getByRole("button", { name: "Demo" }).click();
  await form(page).getByRole("switch", { name: "Influence of tokens" }).focus();
  await page.keyboard.press("Space");
  await form(page).getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL(/\/sentry\/[a-z0-9_-]+$/, { timeout: 30_000 });
  await page.locator('section[data-status="done"]').waitFor();
  check((await rows(page).count()) > 8, "a row for each chunk");
  const blocked = page.locator('tr[data-event="blocked"]').first();
  check(/override|entropy|distinct|base64/.test(await blocked.textContent()), "a blocked chunk with its reason");
  check(Number(await page.locator('[data-chart="Loss"]').getAttribute("data-marks")) > 0, "marks on the charts");
  await page.getByRole("button", { name: "All figures of chunk 0" }).click();
  await page.getByText("Most influential tokens").waitFor();
  await shot(page, "sentry-demo");
  await axe(page, "sentry, a run");
}

export async function sentryReload(page) {
  const before = await rows(page).count();
  await page.reload();
  await until(async () => (await rows(page).count()) === before, "the run after a reload");
  await page.getByRole("region", { name: "Runs" }).locator("tr[data-run]").first().waitFor();
  const run = await (await page.request.get(await page.getByRole("link", { name: "JSON" }).getAttribute("href"))).json();
  same(run.events.length, before, "events of the export");
}

export async function sentryCompare(page) {
  await form(page).getByRole("button", { name: "Override attack" }).click();
  await form(page).getByRole("combobox", { name: "Policy" }).click();
  await page.getByRole("option", { name: "toy" }).click();
  await form(page).getByText("Advanced").click();
  await form(page).getByRole("textbox", { name: "Own canary texts" }).fill("The tide turns at noon.\nSeven plus five is twelve.");
  await form(page).getByRole("switch", { name: "Compare with a second policy" }).focus();
  await page.keyboard.press("Space");
  await form(page).getByRole("button", { name: "Run under both policies" }).click();
  await page.waitForURL(/\/sentry\/[a-z0-9_-]+\?with=/, { timeout: 30_000 });
  const comparison = page.getByRole("region", { name: "Comparison" });
  await comparison.locator("tr[data-difference]").first().waitFor();
  check(/override/.test(await comparison.textContent()), "the reason of the difference");
  const about = await page.getByRole("region", { name: "Run A" }).textContent();
  check(/2 own canaries/.test(about), `own canaries in ${about}`);
  await shot(page, "sentry-compare");
  await axe(page, "sentry, two policies");
}

export async function sentryFile(page) {
  const file = form(page).getByLabel("File to monitor");
  await file.setInputFiles({ name: "book.txt", mimeType: "text/plain", buffer: Buffer.alloc(300_000, "a ") });
  await form(page).getByText("fastweights monitor --file book.txt --model toy").waitFor();
  await file.setInputFiles({ name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("A short note.") });
  same(await form(page).getByRole("textbox", { name: "Text to monitor" }).inputValue(), "A short note.", "the file's text");
}
