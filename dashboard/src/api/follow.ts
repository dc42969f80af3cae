/** Keeps the cached curve and status of a running job current: SSE, and polling where that fails. */
import { mergePoints } from "../lib/series";
import { api, stream, take } from "./client";
import { jobs, models, queryClient } from "./queries";
import type { TrainJob, TrainPoint } from "./types";

const POLL_MS = 1500;

export const metricsKey = (id: string) => ["metrics", id] as const;

export const fetchMetrics = (id: string, afterStep?: number): Promise<TrainPoint[]> =>
  take(
    api.GET("/api/text/train/{model_id}/metrics", {
      params: { path: { model_id: id }, query: afterStep === undefined ? {} : { after_step: afterStep } },
    }),
  );

export function addPoints(id: string, points: TrainPoint[]): void {
  queryClient.setQueryData<TrainPoint[]>(metricsKey(id), (known) => mergePoints(known ?? [], points));
}

/** Puts a job into the list; where its state is news, the models are looked at anew. */
export function putJob(job: TrainJob): void {
  const known = queryClient.getQueryData(jobs.queryKey)?.find((entry) => entry.model_id === job.model_id);
  queryClient.setQueryData(jobs.queryKey, (list) => {
    if (!list) return list;
    return known ? list.map((entry) => (entry.model_id === job.model_id ? job : entry)) : [job, ...list];
  });
  const began = known?.step === 0 && job.step > 0;
  if (known?.status !== job.status || began) void queryClient.invalidateQueries({ queryKey: models.queryKey });
}

const isFinal = (job: TrainJob): boolean => job.status !== "running" && job.status !== "queued";

/** Until the job ends or the signal aborts. Two refused streams, or `streaming` false, leave polling. */
export async function follow(id: string, signal: AbortSignal, streaming: boolean): Promise<void> {
  let refusals = 0;
  while (!signal.aborted) {
    if (streaming && refusals < 2) {
      try {
        for await (const message of stream(`/api/text/train/${encodeURIComponent(id)}/events`, { signal })) {
          refusals = 0;
          if (message.event === "point") addPoints(id, [JSON.parse(message.data) as TrainPoint]);
          if (message.event === "status") putJob(JSON.parse(message.data) as TrainJob);
        }
      } catch {
        refusals += 1;
      }
    }
    if (signal.aborted) return;
    if (await poll(id)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One look at the job; true where it has ended. A server that is away is asked again. */
async function poll(id: string): Promise<boolean> {
  try {
    const job = await take(api.GET("/api/text/train/{model_id}/status", { params: { path: { model_id: id } } }));
    const known = queryClient.getQueryData<TrainPoint[]>(metricsKey(id));
    addPoints(id, await fetchMetrics(id, known?.at(-1)?.step));
    putJob(job);
    return isFinal(job);
  } catch {
    return false;
  }
}
