// Sentry: the demo through the toy, a run that is still there after a reload, two policies on one attack, a file too large.
import { axe, becomes, LONG, same, shot, turnSwitch, until } from "./harness.mjs";

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
  await turnSwitch(page, "Influence of tokens", true);
  await form(page).getByRole("button", { name: "Run", exact: true }).click();
  await page.waitForURL(/\/sentry\/[a-z0-9_-]+$/, { timeout: LONG });
  await page.locator('section[data-status="done"]').waitFor();
  await until(async () => (await rows(page).count()) > 8, "a row for each chunk");
  const blocked = page.locator('tr[data-event="blocked"]').first();
  await until(async () => /override|entropy|distinct|base64/.test(await blocked.textContent()), "a blocked chunk with its reason");
  const marks = () => page.locator('[data-chart="Loss"]').getAttribute("data-marks");
  await until(async () => Number(await marks()) > 0, "marks on the charts");
  await page.getByRole("button", { name: "All figures of chunk 0" }).click();
  await page.getByText("Most influential tokens").waitFor();
  await shot(page, "sentry-demo");
  await axe(page, "sentry, a run");
}

export async function sentryReload(page) {
  const before = await rows(page).count();
  await page.reload();
  await becomes(() => rows(page).count(), before, "chunks of the run after a reload");
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
  await turnSwitch(page, "Compare with a second policy", true);
  await form(page).getByRole("button", { name: "Run under both policies" }).click();
  await page.waitForURL(/\/sentry\/[a-z0-9_-]+\?with=/, { timeout: LONG });
  const comparison = page.getByRole("region", { name: "Comparison" });
  await comparison.locator("tr[data-difference]").first().waitFor();
  await until(async () => /override/.test(await comparison.textContent()), "the reason of the difference");
  await page.getByRole("region", { name: "Run A" }).getByText("2 own canaries").waitFor();
  await shot(page, "sentry-compare");
  await axe(page, "sentry, two policies");
}

export async function sentryFile(page) {
  const file = form(page).getByLabel("File to monitor");
  await file.setInputFiles({ name: "book.txt", mimeType: "text/plain", buffer: Buffer.alloc(300_000, "a ") });
  await form(page).getByText("fastweights monitor --file book.txt --model toy").waitFor();
  await file.setInputFiles({ name: "note.txt", mimeType: "text/plain", buffer: Buffer.from("A short note.") });
  const text = form(page).getByRole("textbox", { name: "Text to monitor" });
  await becomes(() => text.inputValue(), "A short note.", "the file's text");
}
