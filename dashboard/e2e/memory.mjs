// Memory: a session that is not there, the meter of a session beside the API, a fact asked of every state, live.
import { axe, becomes, check, LONG, shot, until } from "./harness.mjs";

export async function memoryUnknown(page) {
  await page.goto("/memory/no-such");
  await page.getByText("There is no session no-such").waitFor();
  await shot(page, "memory-unknown");
  await axe(page, "memory, an unknown session");
}

/** The page follows the session that was talked to. */
export async function memoryMeter(page) {
  const [{ session_id: id }] = (await (await page.request.get("/api/text/sessions")).json()).filter((entry) => entry.n_turns > 1);
  await page.goto(`/memory/${id}`);
  const meter = await (await page.request.get(`/api/text/sessions/${id}/meter`)).json();
  const section = page.getByRole("region", { name: "Adaptation meter" });
  await becomes(() => section.getAttribute("data-meter"), meter.head, "the head that was metered", LONG);
  await becomes(() => page.locator("tr[data-metered]").count(), meter.turns.length, "turns");
  const told = async (title) => page.locator(`[data-chart="${title}"]`).getAttribute("aria-label");
  await until(async () => (await told("Bits per byte so far")).includes(`adapted ${meter.adapted.toFixed(3)}, frozen ${meter.frozen.toFixed(3)}`), "the figures of the API");
  const band = () => page.locator('[data-chart="Gain of each chunk"]').getAttribute("data-band");
  await page.locator('tr[data-metered="1"]').hover();
  await becomes(band, "turn 1", "the charts mark the turn that is pointed at");
  await shot(page, "memory");

  await page.getByRole("form", { name: "Fact" }).locator("button[title]").first().click();
  const recall = page.getByRole("region", { name: "Recall" });
  await becomes(() => recall.getAttribute("data-recall"), meter.head, "the head that was asked", LONG);
  const { searchParams } = new URL(page.url());
  const body = { probe: searchParams.get("probe"), answer: searchParams.get("answer") };
  const found = await (await page.request.post(`/api/text/sessions/${id}/recall`, { data: body })).json();
  await becomes(() => page.locator("tr[data-point]").count(), found.points.length, "states that were asked");
  await until(async () => (await told("Recall")).includes(`the session ${found.points.at(-1).bits_per_letter.toFixed(2)}`), "bits per letter as the API tells them");
  await shot(page, "memory-recall");
  await axe(page, "memory");

  const turn = await page.request.post(`/api/text/sessions/${id}/chat`, { data: { message: `${body.probe}${body.answer}.`, max_new_tokens: 1 } });
  const { commit } = await turn.json();
  await becomes(() => section.getAttribute("data-meter"), commit, "the meter follows the session", LONG);
  await becomes(() => recall.getAttribute("data-recall"), commit, "the recall follows it, too", LONG);
  check((await page.locator("tr[data-point]").count()) === found.points.length + 1, "one state more");
}
