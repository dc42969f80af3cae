/** The turn that is being answered, per session. It lives outside the page, so that a look at another page does not stop it. */
import { useSyncExternalStore } from "react";
import { api, stream, take } from "../../api/client";
import { queryClient, session, sessions } from "../../api/queries";
import type { ChunkEvent, SessionDetail, Turn } from "../../api/types";
import { ApiProblem, fromError, toProblem } from "../../lib/problem";

export interface ChatBody {
  message: string;
  seed?: number;
  max_new_tokens?: number;
  temperature?: number;
  top_p?: number;
  frozen?: boolean;
  compare?: boolean;
}

export interface Live {
  body: ChatBody;
  phase: "reading" | "replying" | "stopping";
  events: ChunkEvent[];
  reply: string;
  frozenReply: string;
}

export interface Failure {
  message: string;
  error: ApiProblem;
}

interface State {
  live: Live | null;
  failure: Failure | null;
  /** Answers that were given without learning since the last kept turn: the session does not store them. */
  asides: Turn[];
}

const REST: State = { live: null, failure: null, asides: [] };
const states = new Map<string, State>();
const controllers = new Map<string, AbortController>();
const listeners = new Set<() => void>();

function put(id: string, change: Partial<State>): void {
  states.set(id, { ...(states.get(id) ?? REST), ...change });
  for (const listener of listeners) listener();
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

export const useLive = (id: string): State => useSyncExternalStore(subscribe, () => states.get(id) ?? REST);

export const isAnswering = (id: string): boolean => Boolean(states.get(id)?.live);

/** Stops the reply: the server keeps what was drawn so far as a turn. */
export function stop(id: string): void {
  const live = states.get(id)?.live;
  if (!live || live.phase === "stopping") return;
  put(id, { live: { ...live, phase: "stopping" } });
  controllers.get(id)?.abort();
}

export async function send(id: string, body: ChatBody): Promise<void> {
  if (isAnswering(id)) return;
  const controller = new AbortController();
  controllers.set(id, controller);
  let draft: Live = { body, phase: "reading", events: [], reply: "", frozenReply: "" };
  let frame = 0;
  const publish = () => {
    frame = 0;
    if (!controller.signal.aborted) put(id, { live: draft });
  };
  const later = (next: Live) => {
    draft = next;
    frame ||= requestAnimationFrame(publish);
  };
  put(id, { live: draft, failure: null });
  const before = await queryClient.ensureQueryData(session(id)).catch(() => undefined);
  const known = before?.n_turns ?? 0;
  try {
    let finished = false;
    for await (const message of stream(`/api/text/sessions/${encodeURIComponent(id)}/chat/stream`, { body, signal: controller.signal })) {
      const data: unknown = JSON.parse(message.data);
      if (message.event === "chunk") later({ ...draft, events: [...draft.events, data as ChunkEvent] });
      else if (message.event === "token") later({ ...draft, phase: "replying", reply: draft.reply + textOf(data) });
      else if (message.event === "frozen_token") {
        later({ ...draft, phase: "replying", frozenReply: draft.frozenReply + textOf(data) });
      } else if (message.event === "error") throw toProblem(Number((data as { status?: number }).status ?? 500), data);
      else if (message.event === "done") {
        cancelAnimationFrame(frame);
        keep(id, data as Turn);
        finished = true;
      }
    }
    if (!finished && !body.frozen) await settle(id, known, HEARD_S);
    put(id, { live: null });
  } catch (error) {
    if (controller.signal.aborted) {
      const heard = draft.events.length > 0 || draft.phase === "replying";
      const kept = body.frozen || (await settle(id, known, heard ? HEARD_S : UNHEARD_S));
      put(id, { live: null, ...(kept || heard ? {} : { failure: { message: body.message, error: UNREAD } }) });
    } else {
      put(id, { live: null, failure: { message: body.message, error: fromError(error) } });
    }
  } finally {
    cancelAnimationFrame(frame);
    controllers.delete(id);
    void queryClient.invalidateQueries({ queryKey: session(id).queryKey });
    void queryClient.invalidateQueries({ queryKey: sessions.queryKey });
  }
}

const textOf = (data: unknown): string => (data as { text: string }).text;

/** A turn that learned is the session's new head; one that did not is shown until the next that does. */
function keep(id: string, turn: Turn): void {
  if (!turn.learned) {
    put(id, { live: null, asides: [...(states.get(id)?.asides ?? []), turn] });
    return;
  }
  put(id, { live: null, asides: [] });
  queryClient.setQueryData<SessionDetail>(session(id).queryKey, (detail) => {
    if (!detail || detail.turns.some((entry) => entry.commit === turn.commit)) return detail;
    const turns = [...detail.turns, turn];
    return { ...detail, turns, n_turns: detail.n_turns + 1, head: turn.commit, drift: turn.drift };
  });
}

/** Seconds until the turn of a stopped reply shows: of a message that the server has, and of one that it may not have. */
const HEARD_S = 60;
const UNHEARD_S = 5;
const UNREAD = new ApiProblem(0, "Stopped", "Stopped before the model had read the message: nothing was learned.");

/** After a stop the server still commits the partial turn: wait until it shows. */
async function settle(id: string, known: number, seconds: number): Promise<boolean> {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    try {
      const detail = await take(api.GET("/api/text/sessions/{session_id}", { params: { path: { session_id: id } } }));
      if (detail.n_turns > known) {
        queryClient.setQueryData(session(id).queryKey, detail);
        return true;
      }
    } catch {
      // The server is away or busy: look again.
    }
  }
  return false;
}
