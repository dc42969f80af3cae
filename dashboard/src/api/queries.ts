/** What the pages read, each under one cache key. */
import { QueryClient, type QueryKey, queryOptions } from "@tanstack/react-query";
import { ApiProblem } from "../lib/problem";
import { api, take } from "./client";
import type { MonitorRunDetail, TrainJob } from "./types";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (failures, error) => failures < 2 && !(error instanceof ApiProblem && error.status >= 400 && error.status < 500),
      staleTime: 5_000,
    },
  },
});

/** Reads a list anew; an answer on its way, which may be older than the change, is not taken. */
export async function readAnew(queryKey: QueryKey): Promise<void> {
  await queryClient.cancelQueries({ queryKey, exact: true });
  await queryClient.invalidateQueries({ queryKey, exact: true });
}

const isLive = (job: TrainJob): boolean => job.status === "running" || job.status === "queued";

export const health = queryOptions({
  queryKey: ["health"],
  queryFn: () => take(api.GET("/api/health")),
  refetchInterval: 15_000,
});

/** The server's OpenAPI document: defaults, bounds and help of the forms. */
export const openapi = queryOptions({
  queryKey: ["openapi"],
  queryFn: async (): Promise<unknown> => {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new ApiProblem(response.status, "No schema", "The server did not give its OpenAPI document.");
    return response.json();
  },
  staleTime: Number.POSITIVE_INFINITY,
});

export const presets = queryOptions({ queryKey: ["presets"], queryFn: () => take(api.GET("/api/presets")), staleTime: 60_000 });

export const corpora = queryOptions({ queryKey: ["corpora"], queryFn: () => take(api.GET("/api/corpora")) });

export const models = queryOptions({ queryKey: ["models"], queryFn: () => take(api.GET("/api/text/models")) });

export const jobs = queryOptions({
  queryKey: ["jobs"],
  queryFn: () => take(api.GET("/api/text/train/jobs")),
  refetchInterval: (query) => (query.state.data?.some(isLive) ? 2_000 : 10_000),
});

/** What `demo stream` measured, newest first. */
export const streams = queryOptions({ queryKey: ["streams"], queryFn: () => take(api.GET("/api/text/streams")), refetchInterval: 15_000 });

export const sessions = queryOptions({
  queryKey: ["sessions"],
  queryFn: () => take(api.GET("/api/text/sessions")),
  refetchInterval: 5_000,
});

export const session = (id: string) =>
  queryOptions({
    queryKey: ["session", id],
    queryFn: () => take(api.GET("/api/text/sessions/{session_id}", { params: { path: { session_id: id } } })),
  });

export const sessionLog = (id: string) =>
  queryOptions({
    queryKey: ["session", id, "log"],
    queryFn: () => take(api.GET("/api/text/sessions/{session_id}/log", { params: { path: { session_id: id } } })),
  });

export const monitorRuns = queryOptions({
  queryKey: ["monitor"],
  queryFn: () => take(api.GET("/api/text/runs")),
  refetchInterval: (query) => (query.state.data?.some((run) => run.status === "running") ? 2_000 : 10_000),
});

/** As many chunks as the page holds of one run; the rest is in the API. */
export const MOST_CHUNKS = 10_000;
const PAGE = 2_000;

export const monitorRun = (id: string) =>
  queryOptions({
    queryKey: ["monitor", id],
    queryFn: async (): Promise<MonitorRunDetail> => {
      const events: MonitorRunDetail["events"] = [];
      for (;;) {
        const query = { after: events.at(-1)?.chunk_index ?? -1, limit: PAGE };
        const answer = api.GET("/api/text/runs/{run_id}", { params: { path: { run_id: id }, query } });
        const page = (await take(answer)) as MonitorRunDetail;
        events.push(...page.events);
        if (!page.more || page.events.length === 0 || events.length >= MOST_CHUNKS) return { ...page, events };
      }
    },
    staleTime: 60_000,
    structuralSharing: false, // thousands of events: comparing them one by one costs seconds
  });

export const policies = queryOptions({ queryKey: ["policies"], queryFn: () => take(api.GET("/api/policies")), staleTime: 60_000 });

export const redteamRuns = queryOptions({
  queryKey: ["redteam"],
  queryFn: () => take(api.GET("/api/redteam")),
  refetchInterval: (query) => (query.state.data?.some((run) => run.status === "running") ? 2_000 : 15_000),
});

export const redteamReport = (id: string) =>
  queryOptions({
    queryKey: ["redteam", id],
    queryFn: () => take(api.GET("/api/redteam/{run_id}", { params: { path: { run_id: id } } })),
    staleTime: Number.POSITIVE_INFINITY, // a report does not change
  });

export const sleeps = queryOptions({
  queryKey: ["sleep"],
  queryFn: () => take(api.GET("/api/sleep")),
  refetchInterval: (query) => (query.state.data?.some((run) => run.status === "running") ? 2_000 : 15_000),
});

export const sleepEvidence = (id: string) =>
  queryOptions({
    queryKey: ["sleep", id],
    queryFn: () => take(api.GET("/api/sleep/{model_id}", { params: { path: { model_id: id } } })),
    refetchInterval: (query) => (query.state.data?.candidate.status === "running" ? 2_000 : false),
  });
