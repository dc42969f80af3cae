/** A run as the page shows it: one that streams, or one of the store. */
import type { JobStatus, MonitorEvent, MonitorOptions, MonitorRun, MonitorRunDetail, MonitorSummary } from "../../api/types";
import type { LiveRun } from "./live";

export interface Reading {
  id: string;
  /** A and B where two are compared, else empty. */
  letter: string;
  slot: number;
  status: JobStatus;
  model: string;
  request: MonitorOptions | null;
  summary: MonitorSummary | null;
  run: MonitorRun | null;
  events: MonitorEvent[];
  /** There are later chunks than those on the page. */
  more: boolean;
}

export function fromRun(run: MonitorRunDetail, letter: string, slot: number): Reading {
  return {
    id: run.run_id,
    letter,
    slot,
    status: run.status,
    model: run.request.model,
    request: run.request,
    summary: run.summary,
    run,
    events: run.events,
    more: run.more,
  };
}

export function fromLive(live: LiveRun, slot: number): Reading {
  return {
    id: live.name ? `Run ${live.name}` : "Run",
    letter: live.name,
    slot,
    status: live.done?.status ?? "running",
    model: live.body.model ?? "toy",
    request: live.done?.request ?? null,
    summary: live.done?.summary ?? null,
    run: live.done,
    events: live.events,
    more: false,
  };
}
