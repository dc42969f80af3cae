// Red team: the empty page, a run that is started and cancelled, and the report of a small run of the real command.
import { spawn } from "node:child_process";
import { axe, becomes, LONG, python, same, shot, until } from "./harness.mjs";

const form = (page) => page.getByRole("form", { name: "New attack" });

export async function redteamEmpty(page) {
  await page.goto("/redteam");
  await page.getByText("No report yet").waitFor();
  await page.getByText("fastweights redteam --model toy --policy default --budget 64").first().waitFor();
  await shot(page, "redteam-empty");
  await axe(page, "red team, empty");
}

export async function redteamStartAndCancel(page) {
  await form(page).getByRole("textbox", { name: "Budget" }).fill("48"); // it does not end by itself
  await form(page).getByRole("button", { name: "Start the attack" }).click();
  await page.waitForURL(/\/redteam\/redteam-[a-z0-9-]+$/);
  await page.locator('section[data-status="running"]').waitFor();
  await shot(page, "redteam-running");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator('section[data-status="cancelled"]').waitFor({ timeout: LONG });
}

let child;
let attack;

/** The command itself, on the server's store, beside the steps that follow: two guard steps an attempt, one seed. */
export async function redteamBegins(page) {
  const { root } = await (await page.request.get("/api/health")).json();
  const options = ["--model=toy", "--budget=2", "--chunk-tokens=8", "--seeds=1", "--json", "--quiet", `--root=${root}`];
  child = spawn(python(), ["-m", "fastweights", "redteam", ...options], {
    env: { ...process.env, OMP_NUM_THREADS: "1", FASTWEIGHTS_THREADS: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (piece) => (said += piece));
  attack = new Promise((resolve) => child.once("close", (code) => resolve({ code, said })));
}

/** Where a step before the report failed. */
export const stopAttack = () => child?.exitCode === null && child.kill("SIGTERM");

export async function redteamReport(page) {
  const { code, said } = await attack;
  same(code, 0, "exit code of fastweights redteam");
  const report = JSON.parse(said);
  await page.goto("/redteam");
  await page.getByRole("link", { name: report.run_id }).click();
  await page.locator(`[data-report="${report.run_id}"]`).waitFor();
  await page.getByText(`--model toy --policy ${report.policy} --budget 2`).first().waitFor();
  const counts = (selector, wanted, what) => becomes(() => page.locator(selector).count(), wanted, what);
  await counts("tr[data-family]", report.families.length, "families");
  await counts("tr[data-control]", report.families.length, "a control beside each family");
  await counts("[data-plot]", report.families.length + report.roc.length, "curves of success and of scores");
  await counts("tr[data-outcome]", report.attempts.length, "payloads with an outcome");
  await counts("tr[data-off]", new Set(report.ablation.map((row) => row.off)).size, "policies of the ablation");
  await counts("tr[data-utility]", new Set(report.utility.map((row) => row.off)).size, "policies of the utility");
  await counts("tr[data-auc]", new Set(report.auc.map((row) => row.family)).size, "families of the AUC");
  const won = report.attempts.filter((attempt) => attempt.success_at !== null).length;
  await page.getByText(`${won} of ${report.attempts.length}`, { exact: true }).first().waitFor();
  const exported = await (await page.request.get(await page.getByRole("link", { name: "JSON" }).getAttribute("href"))).json();
  same(JSON.stringify(exported.families), JSON.stringify(report.families), "families of the export");
  const drip = page.getByRole("region", { name: "Drip", exact: true });
  await until(async () => (await drip.textContent()).includes("never"), "the drip without a guard");
  await shot(page, "redteam-report");
  await axe(page, "red team, a report");
}
