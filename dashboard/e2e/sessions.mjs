// Sessions: the tree of what Chat made, one commit with every verb, a comparison, curves of two sessions.
import { axe, becomes, check, LONG, refusedOnce, same, settled, shot, until } from "./harness.mjs";

const details = (page) => page.locator("[data-details]");
const shown = (page) => details(page).getAttribute("data-details");
const button = (page, name) => details(page).getByRole("button", { name, exact: true });
const row = (page, id) => page.locator(`tr[data-session="${id}"]`);
const list = async (page, path = "/api/text/sessions") => (await page.request.get(path)).json();
const head = async (page, id) => (await list(page)).find((entry) => entry.session_id === id).head;

/** A session that Chat forked and reset: start, turn 1, reset. */
export async function sessionsTree(page) {
  await page.goto("/sessions");
  await page.locator("[data-tree]").waitFor();
  const nano = (await list(page, "/api/sessions")).length;
  await becomes(() => page.locator("tr[data-session]").count(), (await list(page)).length + nano, "rows of the table");
  await becomes(() => page.locator("tr[data-session] [data-kind=nano]").count(), nano, "sessions of Nano among them");
  await row(page, "second").getByRole("button", { name: "second" }).click();
  await details(page).getByRole("heading", { name: "reset" }).waitFor();
  const mark = page.locator(`[data-commit="${await head(page, "second")}"]`);
  await mark.filter({ hasText: "second" }).waitFor(); // the head's mark names its session
  await mark.press("ArrowLeft");
  await details(page).getByRole("heading", { name: "turn 1" }).waitFor();
  const arrived = async () => (await page.evaluate(() => document.activeElement?.dataset.commit)) === (await shown(page));
  await until(arrived, "the arrow takes the focus along");
  await shot(page, "sessions");
  await axe(page, "sessions");
}

export async function sessionsVerbs(page) {
  const dialog = page.getByRole("dialog");
  await button(page, "Tag").click();
  await dialog.getByRole("textbox", { name: "Tag" }).fill("head");
  await dialog.getByRole("button", { name: "Tag" }).click();
  await dialog.getByRole("alert").waitFor();
  await refusedOnce(page, 422);
  await axe(page, "a tag that is refused");
  await dialog.getByRole("textbox", { name: "Tag" }).fill("kept");
  await dialog.getByRole("button", { name: "Tag" }).click();
  await details(page).getByRole("list", { name: "Tags" }).getByText("kept").waitFor();
  await dialog.waitFor({ state: "detached" });

  await button(page, "Verify").click();
  await details(page).locator('[data-verified="true"]').waitFor({ timeout: LONG });

  await button(page, "Check out").click();
  await dialog.getByRole("button", { name: "Check out" }).click();
  const moved = await until(async () => {
    const now = await head(page, "second");
    return (await shown(page)) === now && now;
  }, "the head moves");
  await dialog.waitFor({ state: "detached" });
  await page.locator(`[data-commit="${moved}"]`).filter({ hasText: "kept" }).waitFor(); // the tag stands at the mark

  await button(page, "Fork").click();
  await dialog.getByRole("textbox").fill("third");
  await dialog.getByRole("button", { name: "Fork" }).click();
  await row(page, "third").waitFor();
  await dialog.waitFor({ state: "detached" });
  await becomes(() => details(page).getByRole("combobox", { name: /^As session/ }).inputValue(), "third", "session on show");
  same(await head(page, "third"), moved, "head of the fork");

  await button(page, "Reset to this").click();
  await dialog.getByRole("button", { name: "Reset" }).click();
  await until(async () => (await head(page, "third")) !== moved, "the fork's head is a new commit");
  await dialog.waitFor({ state: "detached" });
  await details(page).getByRole("heading", { name: "reset" }).waitFor();
}

export async function sessionsCompare(page) {
  await button(page, "with the start").click();
  const comparison = page.getByRole("region", { name: "Comparison" });
  await comparison.locator("[data-tensor]").first().waitFor();
  const id = new URL(page.url()).searchParams.get("of");
  const diff = await (await page.request.get(`/api/text/sessions/${id}/diff`)).json();
  await becomes(() => comparison.locator("[data-tensor]").count(), diff.tensors.length, "tensors");
  check(diff.l2 > 0, "the weights moved");
  const told = Number(await comparison.locator("dd").first().textContent());
  check(Math.abs(told - diff.l2) < 0.01 * diff.l2, `the L2 of the API: ${told} and ${diff.l2}`);
  await page.getByRole("checkbox", { name: "Show third in the charts" }).check();
  await page.getByRole("checkbox", { name: "Show second in the charts" }).check();
  await page.locator('[data-chart="Drift"]').waitFor();
  await until(async () => Number(await page.locator('[data-chart="Drift"]').getAttribute("data-points")) >= 3, "a curve of drift");
  await page.getByRole("button", { name: "Session", exact: true }).click();
  await page.locator('th[aria-sort="ascending"]', { hasText: "Session" }).waitFor();
  const ids = await page.locator("tr[data-session]").evaluateAll((rows) => rows.map((entry) => entry.dataset.session));
  same(ids.join(), [...ids].sort((a, b) => a.localeCompare(b)).join(), "order by id");
  await page.getByRole("textbox", { name: "Filter the sessions" }).fill("third");
  await becomes(() => page.locator("tr[data-session]").count(), 1, "rows that pass the filter");
  await page.getByRole("textbox", { name: "Filter the sessions" }).fill("");
  await page.reload(); // what is on show is in the URL
  await comparison.locator("[data-tensor]").first().waitFor();
  await shot(page, "sessions-compare");
  await axe(page, "sessions, a comparison");
}

/** Another window talks to another session, which is the last used one by then: a dialog that is open stays, and its commit. */
export async function sessionsStay(page) {
  await page.goto("/sessions");
  await button(page, "Tag").click();
  const before = await shown(page);
  const dialog = page.getByRole("dialog");
  const field = dialog.getByRole("textbox", { name: "Tag" });
  await field.fill("half a na");
  const turn = await page.request.post("/api/text/sessions/second/chat", { data: { message: "More.", max_new_tokens: 1 } });
  const { commit } = await turn.json();
  await page.locator(`[data-commit="${commit}"]`).waitFor({ state: "attached" });
  await settled(page);
  same(await shown(page), before, "commit on show");
  same(await field.inputValue(), "half a na", "what is typed");
  await field.press("Escape");
  await dialog.waitFor({ state: "detached" });
}
