// What every page has: keyboard, themes, narrow screens.
import { axe, check, openPage, same, shot, until } from "./harness.mjs";

export async function keyboard(page) {
  await page.goto("/chat");
  await page.getByRole("heading", { name: "New session" }).waitFor();
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.waitForURL(/\/train/);
  await page.getByRole("heading", { name: "New run" }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("s");
  await page.waitForURL(/\/sentry/);
  await page.getByRole("heading", { name: "Monitor a text" }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForURL(/\/sessions/);
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.waitForURL(/\/redteam/);
  await page.getByRole("heading", { name: "Attack a model" }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await page.waitForURL(/\/chat/);
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  await shot(page, "shortcuts");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.locator("aside li a").last().click();
  const input = page.getByRole("textbox", { name: "Text to read and continue" });
  await input.waitFor();
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("/");
  check(await input.evaluate((field) => field === document.activeElement), "/ focuses the input");
  await input.pressSequentially("one");
  await page.keyboard.press("Shift+Enter");
  await input.pressSequentially("two ?");
  same(await input.inputValue(), "one\ntwo ?", "Shift+Enter makes a new line; keys in the field are text");
  await input.fill("");
}

export async function themes(page) {
  const scheme = () => page.evaluate(() => document.documentElement.dataset.mantineColorScheme);
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  same(await scheme(), "light", "scheme of the system");
  const light = await paper();
  await page.getByRole("button", { name: "Change to the dark theme" }).click();
  same(await scheme(), "dark", "scheme after the switch");
  await until(async () => (await paper()) !== light, "the page's colour changes");
  await page.reload();
  await page.getByRole("button", { name: "Change to the light theme" }).waitFor();
  same(await scheme(), "dark", "scheme after a reload");
  await page.locator("[data-turn]").first().waitFor();
  await shot(page, "chat-dark");
  await axe(page, "chat, dark");
  await page.goto("/train");
  await page.locator('[data-chart="Loss"]').waitFor();
  await shot(page, "train-dark");
  await axe(page, "train, dark");
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

async function openReport(page) {
  await page.goto("/redteam");
  await page.locator("tr[data-run]", { hasText: "done" }).first().getByRole("link").click();
  const report = page.locator("[data-report]");
  await report.waitFor();
  await until(async () => ((await report.boundingBox())?.y ?? -1) >= 0 && (await report.boundingBox()).y < 200, "the report comes into view");
}

/** 380 px: nothing wider than the screen, on any page. */
export async function narrow(browser, url) {
  const page = await openPage(browser, { url, width: 380, height: 760, scheme: "dark" });
  for (const path of ["/train", "/chat", "/redteam", "/sentry"]) {
    await page.goto(path);
    await page.locator("form").first().waitFor();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    same(over, 0, `pixels that ${path} is too wide at 380`);
    await shot(page, `narrow${path.replace("/", "-")}`);
  }
  await page.getByRole("region", { name: "Runs" }).getByRole("link").last().click();
  await page.locator("tr[data-chunk]").first().waitFor();
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  same(over, 0, "pixels that a monitor run is too wide at 380");
  await shot(page, "narrow-run");
  await axe(page, "sentry at 380 px");
  await openReport(page);
  same(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, "pixels that a report is too wide at 380");
  await shot(page, "narrow-report");
  await axe(page, "red team at 380 px");
  await page.goto("/sessions");
  await page.locator("[data-details]").waitFor();
  same(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth), 0, "pixels that /sessions is too wide at 380");
  await shot(page, "narrow-sessions");
  await axe(page, "sessions at 380 px");
  await page.goto("/chat");
  await page.getByRole("button", { name: "Show the sessions" }).click();
  await page.getByRole("dialog", { name: "Sessions" }).locator("li a").first().click();
  await page.locator("[data-turn]").first().waitFor();
  await page.waitForTimeout(300);
  await shot(page, "narrow-session");
  await axe(page, "chat at 380 px");
  same(page.complaints.join("\n"), "", "complaints of the console");
  await page.context().close();
}
