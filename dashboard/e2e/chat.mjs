// Chat: a streamed turn, a reload that keeps it, stop, comparison, a strict guard, fork, reset, log.
import { axe, becomes, check, LONG, same, shot, turnSwitch, until } from "./harness.mjs";

const PASSAGE =
  "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was " +
  "the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness.";

const input = (page) => page.getByRole("textbox", { name: "Text to read and continue" });
const turn = (page, n) => page.locator(`[data-turn="${n}"]`);

/** Sends it as soon as the last reply has ended. */
async function say(page, text) {
  await page.getByRole("button", { name: "Send" }).waitFor({ timeout: LONG });
  await input(page).fill(text);
  await input(page).press("Enter");
}

async function longest(page, tokens) {
  await page.getByRole("button", { name: /^Sampling/ }).click();
  const field = page.getByRole("textbox", { name: "Most tokens" });
  await field.fill(String(tokens));
  await page.getByRole("button", { name: new RegExp(`^Sampling.* ${tokens} tokens`) }).waitFor();
  await field.press("Escape");
  await field.waitFor({ state: "hidden" });
}

export async function chatFirstTurn(page) {
  await page.goto("/chat");
  await page.getByRole("heading", { name: "New session" }).waitFor();
  await page.getByRole("combobox", { name: "Model" }).click();
  await page.getByRole("option", { name: "starter" }).click(); // it ships with the package
  await shot(page, "chat-new");
  await page.getByRole("button", { name: "Start session" }).click();
  await page.waitForURL(/\/chat\/[a-z0-9_-]+$/);
  await page.getByText("Nothing read yet").waitFor();
  await shot(page, "chat-empty");
  await longest(page, 600);
  await page.evaluate(() => {
    window.replySizes = [];
    new MutationObserver(() => {
      const size = document.querySelector('[data-live="replying"] [data-reply="adapted"]')?.textContent.length;
      if (size && size !== window.replySizes.at(-1)) window.replySizes.push(size);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  await say(page, PASSAGE);
  await turn(page, 1).waitFor({ timeout: LONG });
  const sizes = await page.evaluate(() => window.replySizes);
  check(sizes.length >= 2, `the reply grew while it was drawn (${sizes})`);
  const card = turn(page, 1);
  check((await card.locator('[data-reply="adapted"]').textContent()).length > 20, "a reply");
  check(/\d\.\d{3} → \d\.\d{3}/.test(await card.textContent()), "loss before and after learning");
  await card.locator('[data-decision="committed"]').first().waitFor();
}

export async function chatReload(page) {
  const reply = await turn(page, 1).locator('[data-reply="adapted"]').textContent();
  await page.reload();
  same(await turn(page, 1).locator('[data-reply="adapted"]').textContent(), reply, "the reply after a reload");
  await turn(page, 1).getByRole("button", { name: /chunks?, / }).click();
  await page.getByRole("button", { name: /Canaries and checks of chunk/ }).first().click();
  await page.getByText("Canaries, nats per token").waitFor();
  await shot(page, "chat-events");
  await axe(page, "chat, a turn with its events");
}

export async function chatCompare(page) {
  await longest(page, 120);
  await turnSwitch(page, "Compare with frozen", true);
  await say(page, PASSAGE);
  await turn(page, 2).locator('[data-reply="frozen"]').waitFor({ timeout: LONG });
  await turn(page, 2).locator('[data-reply="adapted"]').waitFor();
  await shot(page, "chat-compare");
}

export async function chatStop(page) {
  await longest(page, 4096); // both replies: long enough to be stopped on a busy machine
  await say(page, "And then");
  await page.locator('[data-live="replying"]').waitFor({ timeout: LONG });
  await page.keyboard.press("Escape");
  await turn(page, 3).getByText("stopped by you").waitFor({ timeout: LONG });
  await turnSwitch(page, "Compare with frozen", false);
  await longest(page, 60);
}

/** Stopped before the server has the message: it goes back into the field. */
export async function chatStopUnread(page) {
  const before = await turn(page, 3).count();
  await page.route("**/chat/stream", () => undefined); // never sent
  await say(page, "Not read at all");
  await page.locator("[data-live]").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("alert").getByText("Stopped before the model had read the message").waitFor();
  await until(async () => (await input(page).inputValue()) === "Not read at all", "the message is back in the field");
  await page.unroute("**/chat/stream");
  same(await turn(page, 4).count(), 0, "turns that it adds");
  same(await turn(page, 3).count(), before, "turns from before");
  await input(page).fill("");
}

export async function chatFrozen(page) {
  await turnSwitch(page, "Learn", false);
  await say(page, "Answer this without learning");
  await page.getByRole("article", { name: "Answer that is not kept" }).waitFor({ timeout: LONG });
  same(await turn(page, 4).count(), 0, "turns that a frozen answer adds");
  await turnSwitch(page, "Learn", true);
}

export async function chatForkResetLog(page) {
  const before = page.url();
  await page.getByRole("button", { name: "Fork from turn 1" }).click();
  const dialog = page.getByRole("dialog", { name: "Fork the session" });
  await dialog.getByRole("textbox").fill("second");
  await axe(page, "fork dialog");
  await dialog.getByRole("button", { name: "Fork" }).click();
  await page.waitForURL(/\/chat\/second$/);
  await becomes(() => page.locator("[data-turn]").count(), 1, "turns of the fork");
  await page.getByRole("button", { name: "Reset" }).click();
  const reset = page.getByRole("dialog", { name: "Reset the fast weights?" });
  await reset.getByRole("button", { name: "Reset" }).click();
  await page.getByText("1 earlier turn kept in the log").waitFor();
  await reset.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Log" }).click();
  const log = page.getByRole("dialog", { name: "Session log" });
  await log.getByText("Turn 1").waitFor();
  const kinds = () => log.locator("li[data-kind]").evaluateAll((rows) => rows.map((row) => row.dataset.kind).join());
  await becomes(kinds, "reset,turn,init", "log");
  await shot(page, "chat-log");
  await page.keyboard.press("Escape");
  await log.waitFor({ state: "detached" });
  await page.goto(before);
  await turn(page, 3).waitFor();
}

/** A turn is left out, that nothing of it is left is certified, and it is taken up again. */
export async function chatForget(page) {
  const id = page.url().match(/chat\/([a-z0-9_-]+)$/)[1];
  const detail = async () => (await page.request.get(`/api/text/sessions/${id}`)).json();
  await page.getByRole("button", { name: "Forget turn 2" }).click();
  const dialog = page.getByRole("dialog", { name: "Forget turn 2?" });
  await axe(page, "forget dialog");
  await dialog.getByRole("button", { name: "Forget" }).click();
  const forgotten = page.locator('[data-forgotten="2"]');
  await forgotten.waitFor({ timeout: LONG });
  await dialog.waitFor({ state: "detached" });
  await turn(page, 3).getByText("drawn anew").waitFor();
  same((await detail()).reverted.map((entry) => entry.turn).join(), "2", "turns that the API leaves out");
  await forgotten.getByRole("button", { name: "Certify" }).click();
  await forgotten.locator('[data-certified="true"]').waitFor({ timeout: LONG });
  await forgotten.scrollIntoViewIfNeeded();
  await shot(page, "chat-forgotten");
  await axe(page, "chat, a forgotten turn");
  await forgotten.getByRole("button", { name: "Take up again" }).click();
  await turn(page, 2).waitFor({ timeout: LONG });
  same((await detail()).reverted.length, 0, "turns that are left out after it was taken up again");
}

/** Which turns moved an answer, as the API says; what is pointed at is marked beside it. */
export async function chatBlame(page) {
  const id = page.url().match(/chat\/([a-z0-9_-]+)$/)[1];
  const asked = page.waitForResponse((response) => response.url().endsWith(`/${id}/blame`));
  await page.getByRole("button", { name: "Blame the answer of turn 1" }).click();
  const drawer = page.getByRole("dialog", { name: "What the turns did" });
  const found = await (await asked).json();
  const rows = drawer.locator("li[data-blamed]");
  await becomes(() => rows.count(), found.turns.length, "turns of the ranking");
  same(await rows.first().getAttribute("data-blamed"), String(found.turns[0].turn), "the turn that moved it most");
  await until(async () => (await drawer.textContent()).includes(found.loss_head.toFixed(3)), "the loss now");
  await drawer.locator('li[data-blamed="2"]').hover();
  await becomes(() => turn(page, 2).getAttribute("data-marked"), "true", "the turn that is pointed at is marked");
  await drawer.getByRole("button", { name: "Search" }).click();
  await drawer.locator("[data-bisection]").waitFor({ timeout: LONG });
  await shot(page, "chat-blame");
  await axe(page, "chat, blame");
  await drawer.getByRole("button", { name: "Close" }).click();
  await drawer.waitFor({ state: "detached" });
}

export async function chatStrictGuard(page) {
  await page.getByRole("link", { name: "New session" }).click();
  await page.getByRole("combobox", { name: "Memory" }).click();
  await page.getByRole("option", { name: "linear", exact: true }).click(); // it writes by the rule
  await page.getByText("Advanced").click();
  await page.getByRole("textbox", { name: "Largest rise (nats)" }).fill("0.000001");
  await page.getByRole("textbox", { name: "Learning rate" }).fill("5");
  await shot(page, "chat-advanced");
  await axe(page, "new session, advanced");
  await page.getByRole("button", { name: "Start session" }).click();
  await page.waitForURL(/\/chat\/[a-z0-9_-]+$/);
  await say(page, PASSAGE);
  const card = turn(page, 1);
  await card.locator('li[data-decision="rolled_back"]').first().waitFor({ timeout: LONG }); // with its reason
  await until(async () => /[1-9]\d* ?rolled back/.test(await card.textContent()), "a count of rolled-back writes");
  await shot(page, "chat-rolled-back");
  await axe(page, "chat, rolled back");
}
