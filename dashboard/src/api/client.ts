/** The typed client. Every failure is thrown as an `ApiProblem`. */
import createClient from "openapi-fetch";
import { readSse, type SseMessage } from "../lib/sse";
import { fromError, toProblem } from "../lib/problem";
import type { paths } from "./schema";

export const api = createClient<paths>({ baseUrl: "/" });

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** `await take(api.GET("/api/health"))` is the body, or throws. */
export async function take<T>(answer: Promise<Answer<T>>): Promise<T> {
  let done: Answer<T>;
  try {
    done = await answer;
  } catch (error) {
    throw fromError(error);
  }
  if (!done.response.ok || done.data === undefined) throw toProblem(done.response.status, done.error);
  return done.data;
}

/** A stream of server-sent events; `body` makes it a POST. Ends when the server ends it; throws an `ApiProblem` if it is refused. */
export async function* stream(path: string, options: { body?: unknown; signal: AbortSignal }): AsyncGenerator<SseMessage> {
  const response = await fetch(path, {
    method: options.body === undefined ? "GET" : "POST",
    headers: {
      accept: "text/event-stream",
      ...(options.body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: options.body === undefined ? undefined : JSON.stringify(options.body),
    signal: options.signal,
  });
  if (!response.ok || !response.body) {
    const text = await response.text();
    let parsed: unknown = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not JSON: the text itself is shown.
    }
    throw toProblem(response.status, parsed);
  }
  yield* readSse(response.body);
}
