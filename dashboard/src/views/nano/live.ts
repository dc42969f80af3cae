/** The run that is under way. It lives outside the page, so that a look at another page does not stop it. */
import { useSyncExternalStore } from "react";
import { stream } from "../../api/client";
import { queryClient } from "../../api/queries";
import { nanoSession, nanoSteps, nanoTransactions, reread } from "../../api/sessionVerbs";
import type { NanoRows, NanoSessionRun, NanoUpdate } from "../../api/types";
import { type ApiProblem, fromError, toProblem } from "../../lib/problem";

export interface LiveRun {
  session: string;
  steps: number;
  read: number;
  rows: NanoRows[];
  updates: NanoUpdate[];
}

interface State {
  run: LiveRun | null;
  phase: "rest" | "running" | "stopping";
  /** Of the session that was asked last. */
  error: { session: string; problem: ApiProblem } | null;
  /** The run that ended last. */
  done: { session: string; run: NanoSessionRun } | null;
}

const EVERY_MS = 120;
let state: State = { run: null, phase: "rest", error: null, done: null };
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

/** Ends the run with the steps that it has read: they are committed. */
export function stop(): void {
  if (state.phase !== "running") return;
  put({ phase: "stopping" });
  controller?.abort();
}

export async function start(session: string, steps: number): Promise<void> {
  if (state.phase !== "rest") return;
  const stopper = new AbortController();
  controller = stopper;
  put({ run: { session, steps, read: 0, rows: [], updates: [] }, phase: "running", error: null, done: null });
  const runs = new Set(queryClient.getQueryData(nanoSession(session).queryKey)?.runs.map((run) => run.run_id));
  let done: NanoSessionRun | null = null;
  let error: State["error"] = null;
  try {
    done = await read(session, steps, stopper.signal);
  } catch (thrown) {
    if (stopper.signal.aborted) done = await cancelled(session, runs);
    else error = { session, problem: fromError(thrown) };
  }
  await reread({ kind: "nano", id: session });
  if (done && queryClient.getQueryData(nanoSession(session).queryKey)?.head === done.commit) await drawn(session, done);
  controller = null;
  put({ run: null, phase: "rest", error, done: done && { session, run: done } });
}

async function read(session: string, steps: number, signal: AbortSignal): Promise<NanoSessionRun> {
  const rows: NanoRows[] = [];
  const updates: NanoUpdate[] = [];
  let due = 0;
  for await (const message of stream(`/api/sessions/${encodeURIComponent(session)}/run/stream`, { body: { steps }, signal })) {
    const data: unknown = JSON.parse(message.data);
    if (message.event === "steps") rows.push(data as NanoRows);
    if (message.event === "update") updates.push(data as NanoUpdate);
    if (message.event === "error") throw toProblem(Number((data as { status?: number }).status ?? 500), data);
    if (message.event === "done") return data as NanoSessionRun;
    if (Date.now() < due) continue;
    due = Date.now() + EVERY_MS;
    const last = rows.at(-1);
    put({ run: { session, steps, read: last ? last.offset + last.t.length : 0, rows: [...rows], updates: [...updates] } });
  }
  throw toProblem(0, "The server closed the stream before the run was over.");
}

/** So that the curves do not fall back for a moment where the run is a commit. */
const drawn = (session: string, run: NanoSessionRun) =>
  Promise.all([queryClient.prefetchQuery(nanoSteps(session, run.run_id)), queryClient.prefetchQuery(nanoTransactions(session, run.commit))]);

/** What a run that was stopped has read is a commit soon after: wait for it, five seconds at most. */
async function cancelled(session: string, before: ReadonlySet<string>): Promise<NanoSessionRun | null> {
  for (let i = 0; i < 25; i += 1) {
    const found = await queryClient.fetchQuery({ ...nanoSession(session), staleTime: 0 }).catch(() => null);
    const made = found?.runs.find((run) => !before.has(run.run_id));
    if (made) return made;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return null;
}
