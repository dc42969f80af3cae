// What every page has: keyboard, themes, narrow screens.
import { axe, becomes, openPage, same, settled, shot, until } from "./harness.mjs";
import { nanoNarrow } from "./nano.mjs";

/** `g` and a key; the two may come too far apart where the machine is busy, so they are pressed again. */
async function go(page, key, url) {
  await until(async () => {
    await Promise.all([page.keyboard.press("g"), page.keyboard.press(key)]);
    return page.waitForURL(url, { timeout: 3_000 }).then(
      () => true,
      () => false,
    );
  }, `g ${key}`);
}

/** Lets go of the focus; where a page takes it at first, `holder` has it by then. */
async function blur(page, holder) {
  if (holder) await becomes(() => holder.evaluate((field) => field === document.activeElement), true, "the focus at first");
  await page.evaluate(() => document.activeElement?.blur());
}

/** How many pixels the page is wider than the screen. */
async function tooWide(page, where) {
  await settled(page);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  same(over, 0, `pixels that ${where} is too wide at 380`);
}

export async function keyboard(page) {
  await page.goto("/chat");
  await page.getByRole("heading", { name: "New session" }).waitFor();
  await blur(page);
  await go(page, "t", /\/train/);
  await page.getByRole("heading", { name: "New run" }).waitFor();
  await go(page, "s", /\/sentry/);
  await page.getByRole("heading", { name: "Monitor a text" }).waitFor();
  await go(page, "e", /\/sessions/);
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await go(page, "n", /\/nano/);
  await page.getByRole("heading", { name: "Nano", exact: true }).waitFor();
  await go(page, "r", /\/redteam/);
  await page.getByRole("heading", { name: "Attack a model" }).waitFor();
  await go(page, "m", /\/meta/);
  await page.getByRole("heading", { name: "Meta", exact: true }).waitFor();
  await go(page, "y", /\/memory/);
  await page.getByRole("heading", { name: "Memory", exact: true }).waitFor();
  await go(page, "l", /\/sleep/);
  await page.getByRole("heading", { name: "Sleep", exact: true }).last().waitFor();
  await go(page, "c", /\/chat/);
  await page.getByRole("heading", { name: "New session" }).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await shot(page, "shortcuts");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.locator("aside li a").last().click();
  const input = page.getByRole("textbox", { name: "Text to read and continue" });
  await input.waitFor();
  await blur(page, input);
  await page.keyboard.press("/");
  await becomes(() => input.evaluate((field) => field === document.activeElement), true, "/ focuses the input");
  await input.pressSequentially("one");
  await page.keyboard.press("Shift+Enter");
  await input.pressSequentially("two ?");
  await becomes(() => input.inputValue(), "one\ntwo ?", "Shift+Enter makes a new line; keys in the field are text");
  await input.fill("");
}

export async function themes(page) {
  const scheme = () => page.evaluate(() => document.documentElement.dataset.mantineColorScheme);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await becomes(scheme, "light", "scheme of the system");
  const light = await paper();
  await page.getByRole("button", { name: "Change to the dark theme" }).click();
  await becomes(scheme, "dark", "scheme after the switch");
  await until(async () => (await paper()) !== light, "the page's colour changes");
  await page.reload();
  await page.getByRole("button", { name: "Change to the light theme" }).waitFor();
  await becomes(scheme, "dark", "scheme after a reload");
  await page.locator("[data-turn]").first().waitFor();
  await shot(page, "chat-dark");
  await axe(page, "chat, dark");
  await page.goto("/train");
  await page.locator('[data-chart="Loss"]').waitFor();
  await shot(page, "train-dark");
  await axe(page, "train, dark");
  await page.goto("/meta");
  await page.locator('[data-chart="Right answers"]').waitFor();
  await shot(page, "meta-dark");
  await axe(page, "meta, dark");
  await page.goto("/memory");
  await page.locator('[data-chart="Gain of each chunk"]').waitFor();
  await shot(page, "memory-dark");
  await axe(page, "memory, dark");
  await openCandidate(page);
  await shot(page, "sleep-dark");
  await axe(page, "sleep, dark");
  await page.goto("/sentry");
  await page.getByRole("region", { name: "Runs" }).getByRole("link").first().click();
  await page.locator('[data-chart="Loss"]').waitFor();
  await shot(page, "sentry-dark");
  await axe(page, "sentry, dark");
  await page.goto("/sessions?show=text:second,text:third");
  await page.locator('[data-chart="Drift"]').waitFor();
  await page.locator("[data-details]").waitFor();
  await shot(page, "sessions-dark");
  await axe(page, "sessions, dark");
  await openReport(page);
  await shot(page, "redteam-dark");
  await axe(page, "red team, dark");
}

async function openCandidate(page) {
  await page.goto("/sleep");
  await page.locator("tr[data-row]").first().getByRole("link").click();
  await page.locator("[data-evidence]").waitFor();
}

async function openReport(page) {
  await page.goto("/redteam");
  await page.locator("tr[data-run]", { hasText: "done" }).first().getByRole("link").click();
  const report = page.locator("[data-report]");
  await report.waitFor();
  const top = async () => (await report.boundingBox())?.y ?? -1;
  await until(async () => ((y) => y >= 0 && y < 200)(await top()), "the report comes into view");
}

/** 380 px: nothing wider than the screen, on any page. */
export async function narrow(browser, url) {
  const page = await openPage(browser, { url, width: 380, height: 760, scheme: "dark" });
  for (const path of ["/train", "/chat", "/redteam", "/sentry"]) {
    await page.goto(path);
    await page.locator("form").first().waitFor();
    await tooWide(page, path);
    await shot(page, `narrow${path.replace("/", "-")}`);
  }
  await page.getByRole("region", { name: "Runs" }).getByRole("link").last().click();
  await page.locator("tr[data-chunk]").first().waitFor();
  await tooWide(page, "a monitor run");
  await shot(page, "narrow-run");
  await axe(page, "sentry at 380 px");
  await openReport(page);
  await tooWide(page, "a report");
  await shot(page, "narrow-report");
  await axe(page, "red team at 380 px");
  await page.goto("/sessions");
  await page.locator("[data-details]").waitFor();
  await tooWide(page, "/sessions");
  await shot(page, "narrow-sessions");
  await axe(page, "sessions at 380 px");
  await page.goto("/meta");
  await page.locator('[data-chart="Right answers"]').waitFor();
  await tooWide(page, "/meta");
  await shot(page, "narrow-meta");
  await axe(page, "meta at 380 px");
  await page.goto("/memory");
  await page.locator('[data-chart="Gain of each chunk"]').waitFor();
  await tooWide(page, "/memory");
  await shot(page, "narrow-memory");
  await axe(page, "memory at 380 px");
  await openCandidate(page);
  await tooWide(page, "a candidate");
  await shot(page, "narrow-sleep");
  await axe(page, "sleep at 380 px");
  await nanoNarrow(page, tooWide);
  await page.goto("/chat");
  await page.getByRole("button", { name: "Show the sessions" }).click();
  const drawer = page.getByRole("dialog", { name: "Sessions" });
  await drawer.locator("li a").first().click();
  await page.locator("[data-turn]").first().waitFor();
  await drawer.waitFor({ state: "detached" });
  await settled(page);
  await shot(page, "narrow-session");
  await axe(page, "chat at 380 px");
  same(page.complaints.join("\n"), "", "complaints of the console");
  await page.context().close();
}
