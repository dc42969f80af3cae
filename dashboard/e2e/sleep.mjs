// Sleep: the empty page, a real sleep of a session on a small model, its evidence beside the API, every decision.
import { axe, becomes, check, LONG, shot, until } from "./harness.mjs";

const ID = "e2e-night";
const SESSION = "e2e-day";
const form = (page) => page.getByRole("form", { name: "New sleep" });
const strip = (page) => page.locator(`[data-candidate="${ID}"]`);
const rows = (page, selector, wanted, what) => becomes(() => page.locator(selector).count(), wanted, what);

export async function sleepEmpty(page) {
  await page.goto("/sleep");
  await page.getByText("No sleep yet").waitFor();
  await shot(page, "sleep-empty");
  await axe(page, "sleep, empty");
}

export async function sleepRun(page) {
  const base = "twenty"; // of the first run of Train
  await page.request.post("/api/text/sessions", { data: { model: base, session_id: SESSION, chunk_tokens: 32 } });
  const message = "Brindlewick kept the lighthouse at Osmary Point. ".repeat(4);
  await page.request.post(`/api/text/sessions/${SESSION}/chat`, { data: { message, max_new_tokens: 1 }, timeout: LONG });
  await page.goto("/sleep");
  await form(page).getByRole("combobox", { name: "Base model" }).click();
  await page.getByRole("option", { name: base }).click();
  await form(page).getByRole("textbox", { name: "Steps" }).fill("10");
  await form(page).getByRole("textbox", { name: "Candidate's id" }).fill(ID);
  await page.getByText(`fastweights sleep --base-model-id ${base} --train-steps 10 --model-id ${ID}`).waitFor();
  await form(page).getByRole("button", { name: "Start the sleep" }).click();
  await page.waitForURL(new RegExp(`/sleep/${ID}$`));
  await shot(page, "sleep-running");
  await until(async () => (await strip(page).getAttribute("data-status")) === "sleep_candidate", "a candidate", LONG);
  await page.locator(`[data-evidence="${ID}"]`).waitFor();
  const { manifest } = await (await page.request.get(`/api/sleep/${ID}`)).json();
  await rows(page, "tr[data-difference]", 2, "differences of the evaluation");
  await rows(page, "tr[data-retention]", manifest.retention_rows.length, "sessions of the retention table");
  await rows(page, "tr[data-forgetting]", manifest.forgetting_rows.length, "rows of the forgetting table");
  await rows(page, "tr[data-part]", manifest.parts.length, "parts that changed");
  await rows(page, "tr[data-write]", manifest.writes.length, "decisions of the guard");
  await rows(page, "details li[data-source]", manifest.sources.reduce((sum, entry) => sum + entry.turns.length, 0), "turns of all sources");
  const text = await page.locator("tr[data-difference]").first().textContent();
  check(text.includes(manifest.core_before.toPrecision(4)), `core text before, as the API tells it: ${text}`);
  await page.locator("summary", { hasText: SESSION }).click();
  const source = manifest.sources.find((entry) => entry.session_id === SESSION);
  await rows(page, "details[open] li[data-source]", source.turns.length, "turns of the source");
  await shot(page, "sleep");
  await axe(page, "sleep, a candidate");
}

/** Approved, taken back, rejected: each in one step, and the server has it. */
export async function sleepDecide(page) {
  const decide = async (name, status) => {
    await strip(page).getByRole("button", { name, exact: true }).click();
    const dialog = page.getByRole("dialog");
    if (name === "Approve") await axe(page, "approve dialog");
    await dialog.getByRole("button", { name, exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    await becomes(() => strip(page).getAttribute("data-status"), status, `status after ${name}`);
    const { candidate } = await (await page.request.get(`/api/sleep/${ID}`)).json();
    check(candidate.status === status, `status of the server after ${name}: ${candidate.status}`);
  };
  await decide("Approve", "ready");
  await page.locator(`tr[data-row="${ID}"]`).getByText("approved").waitFor();
  await shot(page, "sleep-approved");
  await decide("Revert", "sleep_candidate");
  await decide("Reject", "rejected");
  await axe(page, "sleep, rejected");
}
