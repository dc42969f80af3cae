/** The text that is being monitored. It lives outside the page, so that a look at another page does not stop it. */
import { useSyncExternalStore } from "react";
import { api, stream, take } from "../../api/client";
import { monitorRun, monitorRuns, queryClient } from "../../api/queries";
import type { MonitorEvent, MonitorRequest, MonitorRun, MonitorRunDetail } from "../../api/types";
import { type ApiProblem, fromError, toProblem } from "../../lib/problem";

/** What is left out is the server's default. */
export type Body = Partial<MonitorRequest> & { text: string };

export interface LiveRun {
  name: string;
  body: Body;
  events: MonitorEvent[];
  done: MonitorRun | null;
}

interface State {
  /** One run, or two under two policies one after the other; those that have begun. */
  runs: LiveRun[];
  of: number;
  phase: "rest" | "running" | "stopping";
  error: ApiProblem | null;
  /** Ids of the runs that ended last, to be opened once. */
  ended: string[];
}

/** Least time between two drawings; a long run is drawn less often. */
const EVERY_MS = 120;
let state: State = { runs: [], of: 0, phase: "rest", error: null, ended: [] };
let controller: AbortController | null = null;
const listeners = new Set<() => void>();

function put(change: Partial<State>): void {
  state = { ...state, ...change };
  for (const listener of listeners) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useLive = (): State => useSyncExternalStore(subscribe, () => state);

export const clearEnded = (): void => put({ ended: [], runs: [] });

/** Stops reading: the server keeps what was read so far as a cancelled run. */
export function stop(): void {
  if (state.phase !== "running") return;
  put({ phase: "stopping" });
  controller?.abort();
}

export async function start(plan: { name: string; body: Body }[]): Promise<void> {
  if (state.phase !== "rest") return;
  const stopper = new AbortController();
  controller = stopper;
  put({ runs: [], of: plan.length, phase: "running", error: null, ended: [] });
  const before = new Set(((await queryClient.fetchQuery({ ...monitorRuns, staleTime: 0 }).catch(() => null)) ?? []).map((run) => run.run_id));
  const ended: string[] = [];
  let error: ApiProblem | null = null;
  try {
    for (const { name, body } of plan) ended.push((await one(name, body, stopper.signal)).run_id);
  } catch (thrown) {
    if (stopper.signal.aborted) ended.push(...(await cancelled(new Set([...before, ...ended]))));
    else error = fromError(thrown);
  }
  await queryClient.invalidateQueries({ queryKey: monitorRuns.queryKey, exact: true });
  controller = null;
  put({ phase: "rest", error, ended, ...(error && { runs: [] }) });
}

async function one(name: string, body: Body, signal: AbortSignal): Promise<MonitorRun> {
  const before = state.runs;
  const events: MonitorEvent[] = [];
  let due = 0;
  const publish = (done: MonitorRun | null) => {
    due = Date.now() + Math.max(EVERY_MS, events.length / 3);
    put({ runs: [...before, { name, body, events: [...events], done }] });
  };
  publish(null);
  for await (const message of stream("/api/text/runs/stream", { body, signal })) {
    const data: unknown = JSON.parse(message.data);
    if (message.event === "event") events.push(data as MonitorEvent);
    else if (message.event === "error") throw toProblem(Number((data as { status?: number }).status ?? 500), data);
    else if (message.event === "done") {
      const run = data as MonitorRun;
      queryClient.setQueryData<MonitorRunDetail>(monitorRun(run.run_id).queryKey, { ...run, events, more: false });
      publish(run);
      return run;
    }
    if (Date.now() >= due) publish(null);
  }
  throw toProblem(0, "The server closed the stream before the run was over.");
}

/** The run that was stopped is the newest one that was not there before: wait until it has ended, five seconds at most. */
async function cancelled(before: ReadonlySet<string>): Promise<string[]> {
  for (let i = 0; i < 25; i += 1) {
    const runs = await take(api.GET("/api/text/runs")).catch(() => []);
    const mine = runs.find((run) => !before.has(run.run_id));
    if (mine && mine.status !== "running") return [mine.run_id];
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return [];
}
