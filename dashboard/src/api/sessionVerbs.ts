/** Git's verbs on the weights of a session of any kind, and what the pages cache of them. */
import { queryOptions } from "@tanstack/react-query";
import { keyOf, type SessionKind, type SessionRow, toRow } from "../lib/sessionRows";
import { api, take } from "./client";
import { queryClient, sessions } from "./queries";
import type { NanoSession, NanoSimulate, NanoSimulation, NanoTransactions, NanoWeights, SessionInfo } from "./types";

const BASE: Record<SessionKind, string> = { text: "/api/text/sessions", nano: "/api/sessions" };

/** Both kinds take and give the same: the text sessions' path stands for both in the types. */
const at = <Verb extends string>(kind: SessionKind, verb: Verb) =>
  `${BASE[kind]}/{session_id}/${verb}` as `/api/text/sessions/{session_id}/${Verb}`;

export interface SessionRef {
  kind: SessionKind;
  id: string;
}

const params = (ref: SessionRef) => ({ path: { session_id: ref.id } });

export const nanoSessions = queryOptions({
  queryKey: ["nano sessions"],
  queryFn: () => take(api.GET("/api/sessions")),
  refetchInterval: 5_000,
});

export const nanoSession = (id: string) =>
  queryOptions({
    queryKey: ["session", keyOf("nano", id)],
    queryFn: () => take(api.GET("/api/sessions/{session_id}", { params: { path: { session_id: id } } })),
    staleTime: 5_000,
  });

/** What each step of a run cost. Runs do not change. */
export const nanoSteps = (id: string, run: string) =>
  queryOptions({
    queryKey: ["nano steps", run],
    queryFn: () => take(api.GET("/api/sessions/{session_id}/runs/{run_id}/steps", { params: { path: { session_id: id, run_id: run } } })),
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false, // thousands of numbers
  });

const PAGE = 5_000;

/** Every transaction that the state at that head has seen. */
export const nanoTransactions = (id: string, head: string) =>
  queryOptions({
    queryKey: ["nano transactions", id, head],
    queryFn: async (): Promise<NanoTransactions> => {
      const updates: NanoTransactions["updates"] = [];
      for (;;) {
        const query = { offset: updates.length, limit: PAGE };
        const page = await take(api.GET("/api/sessions/{session_id}/updates", { params: { path: { session_id: id }, query } }));
        updates.push(...page.updates);
        if (updates.length >= page.total || page.updates.length === 0) return { ...page, offset: 0, updates };
      }
    },
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
  });

/** The real model in a simulated world; the last one stays on show until the next is there. */
export const nanoSimulation = (body: Partial<NanoSimulate> & { session: string; at: string }) =>
  queryOptions({
    queryKey: ["nano simulation", body],
    queryFn: ({ signal }) => take(api.POST("/api/nano/simulate", { body: body as NanoSimulate, signal })) as Promise<NanoSimulation>,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    structuralSharing: false,
    placeholderData: (before) => (before?.session_id === body.session ? before : undefined),
  });

export const nanoModel = (id: string, at: string) =>
  queryOptions({
    queryKey: ["nano model", at],
    queryFn: () => take(api.GET("/api/nano/model", { params: { query: { session: id, at } } })),
    staleTime: Number.POSITIVE_INFINITY,
  });

export const nanoWeights = (id: string, at: string, against: string | null) =>
  queryOptions({
    queryKey: ["nano weights", at, against],
    queryFn: () => {
      const query = { at, ...(against && { against }) };
      return take(api.GET("/api/sessions/{session_id}/weights", { params: { path: { session_id: id }, query } })) as Promise<NanoWeights>;
    },
    staleTime: Number.POSITIVE_INFINITY,
    structuralSharing: false,
  });

/** One list a kind; each may fail on its own. */
export const lists = [
  { ...sessions, select: (found: SessionInfo[]): SessionRow[] => found.map((entry) => toRow("text", entry)) },
  { ...nanoSessions, select: (found: NanoSession[]): SessionRow[] => found.map((entry) => toRow("nano", entry)) },
] as const;

/** Every commit that the session knows, also those that only a tag or an earlier head reaches. */
export const fullLog = (ref: SessionRef) =>
  queryOptions({
    queryKey: ["commits", keyOf(ref.kind, ref.id)],
    queryFn: () => take(api.GET(at(ref.kind, "log"), { params: { ...params(ref), query: { all: true } } })),
    staleTime: Number.POSITIVE_INFINITY, // until the list tells of a change
  });

export const sessionDiff = (a: SessionRef, from: string, b: SessionRef, to: string) =>
  queryOptions({
    queryKey: ["diff", a.kind, from, to],
    queryFn: () => {
      const other = b.id === a.id ? {} : { other: b.id };
      return take(api.GET(at(a.kind, "diff"), { params: { ...params(a), query: { a: from, b: to, ...other } } }));
    },
    staleTime: Number.POSITIVE_INFINITY, // commits do not change
  });

/** Reads anew what a verb changed: the lists, the session and its log. Done when what is on show has it. */
export async function reread({ kind, id }: SessionRef): Promise<void> {
  const keys = [sessions.queryKey, nanoSessions.queryKey, ["session", id], ["session", keyOf(kind, id)], ["commits", keyOf(kind, id)]];
  await Promise.all(keys.map((queryKey) => queryClient.invalidateQueries({ queryKey })));
}

/** `doing(ref, answer)` is the answer, once the pages show what it changed: nothing moves under the next click. */
async function doing<T>(ref: SessionRef, answer: Promise<T>): Promise<T> {
  const done = await answer;
  await reread(ref);
  return done;
}

export async function fork(ref: SessionRef, body: { name: string | null; at: string | null; keep_momentum: boolean }) {
  const made = await take(api.POST(at(ref.kind, "fork"), { params: params(ref), body }));
  await queryClient.prefetchQuery(fullLog({ kind: ref.kind, id: made.session_id }));
  await reread(ref);
  return made;
}

export const tag = (ref: SessionRef, name: string, commit: string) =>
  doing(ref, take(api.POST(at(ref.kind, "tag"), { params: params(ref), body: { name, at: commit, delete: false } })));

export const untag = (ref: SessionRef, name: string) =>
  doing(ref, take(api.POST(at(ref.kind, "tag"), { params: params(ref), body: { name, delete: true } })));

export const checkout = (ref: SessionRef, commit: string) =>
  doing(ref, take(api.POST(at(ref.kind, "checkout"), { params: params(ref), body: { commit } })));

/** To the initial state where no commit is named. */
export const reset = (ref: SessionRef, to: string | null = null) =>
  doing(ref, take(api.POST(at(ref.kind, "reset"), { params: params(ref), body: { to } })));

/** Of a turn or run, by its number or commit, or of the revert of one. */
export const revert = (ref: SessionRef, commit: string) =>
  doing(ref, take(api.POST(at(ref.kind, "revert"), { params: params(ref), body: { commit } })));

/** Whether the head's state is that of a session that never saw the turn or run, bit for bit. */
export const verifyWithout = (ref: SessionRef, without: string) =>
  take(api.POST(at(ref.kind, "verify"), { params: params(ref), body: { without } }));

/** Which turns moved an answer. `exact`: those that moved it most are replayed without, too. */
export const blame = (id: string, body: { probe: string; answer: string | null; exact: boolean; top: number }) =>
  take(api.POST("/api/text/sessions/{session_id}/blame", { params: { path: { session_id: id } }, body }));

/** The turn that broke a canary (none named: the one that stands highest). */
export const bisect = (id: string) => take(api.POST("/api/text/sessions/{session_id}/bisect", { params: { path: { session_id: id } }, body: {} }));

/** What learning gained on what the head has seen. */
export const meter = (id: string, head: string) =>
  queryOptions({
    queryKey: ["meter", id, head],
    queryFn: ({ signal }) => take(api.GET("/api/text/sessions/{session_id}/meter", { params: { path: { session_id: id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: (before) => (before?.session_id === id ? before : undefined),
  });

/** What of an answer each state of the session knows. */
export const recall = (id: string, head: string, probe: string, answer: string) =>
  queryOptions({
    queryKey: ["recall", id, head, probe, answer],
    queryFn: ({ signal }) => take(api.POST("/api/text/sessions/{session_id}/recall", { params: { path: { session_id: id } }, body: { probe, answer }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: (before) => (before?.session_id === id && before.probe === probe && before.answer === answer ? before : undefined),
  });

/** One commit, or the head's whole history. */
export const verify = (ref: SessionRef, commit: string | null) =>
  take(api.POST(at(ref.kind, "verify"), { params: params(ref), body: { commit } }));
