/** Keeps a run that another process or window writes current: SSE from its start, and asking again where that fails. */
import { stream } from "./client";
import { monitorRun, monitorRuns, queryClient } from "./queries";
import type { MonitorEvent, MonitorRun, MonitorRunDetail } from "./types";

/** Least time between two drawings; a long run is drawn less often. */
const EVERY_MS = 250;
const AGAIN_MS = 2_000;

export async function followRun(id: string, signal: AbortSignal): Promise<void> {
  const { queryKey } = monitorRun(id);
  while (!signal.aborted) {
    const events: MonitorEvent[] = [];
    let due = 0;
    const put = (run?: MonitorRun) => {
      due = Date.now() + Math.max(EVERY_MS, events.length / 3);
      const seen = [...events];
      queryClient.setQueryData<MonitorRunDetail>(queryKey, (known) => (known ? { ...known, ...run, events: seen, more: false } : known));
    };
    try {
      for await (const message of stream(`/api/text/runs/${encodeURIComponent(id)}/events`, { signal })) {
        if (message.event === "event") events.push(JSON.parse(message.data) as MonitorEvent);
        if (message.event === "done") {
          put(JSON.parse(message.data) as MonitorRun);
          void queryClient.invalidateQueries({ queryKey: monitorRuns.queryKey, exact: true });
          return;
        }
        if (Date.now() >= due) put();
      }
    } catch {
      // The server is away, or the page was left: look again below.
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (signal.aborted) return;
    const now = await queryClient.fetchQuery({ ...monitorRun(id), staleTime: 0 }).catch(() => null);
    if (now && now.status !== "running") return;
  }
}
