/** Runs of training as the table lists them, and which of them the charts overlay. Pure. */
import type { JobStatus, ModelInfo, TrainJob, TrainPoint } from "../api/types";

export interface Run {
  id: string;
  status: JobStatus;
  preset: string | null;
  step: number;
  steps: number;
  resumable: boolean;
  error: string | null;
  createdAt: string;
  last: TrainPoint | null;
  valBpb: number | null;
  params: number | null;
  corpus: string | null;
  kind: string | null;
  seed: number | null;
  /** There is a finished model to talk to. */
  usable: boolean;
}

const FROM_MODEL: Record<ModelInfo["status"], JobStatus> = {
  training: "running",
  ready: "done",
  sleep_candidate: "done",
  rejected: "done",
  failed: "failed",
  cancelled: "cancelled",
  interrupted: "interrupted",
};

/** Jobs joined with their models, and models that were trained without a job; newest first. Shipped models and what sleep
 * made of others are no runs. */
export function joinRuns(jobs: readonly TrainJob[], models: readonly ModelInfo[]): Run[] {
  const byId = new Map(models.map((model) => [model.model_id, model]));
  const known = new Set(jobs.map((job) => job.model_id));
  const fromJobs = jobs.map((job): Run => {
    const model = byId.get(job.model_id);
    return {
      id: job.model_id,
      status: job.status,
      preset: job.preset,
      step: job.step,
      steps: job.steps,
      resumable: job.resumable,
      error: job.error,
      createdAt: job.created_at,
      last: job.last,
      ...facts(model),
      valBpb: model?.val_bpb ?? job.last?.val_bpb ?? null,
    };
  });
  const alone = models
    .filter((model) => !known.has(model.model_id) && !model.shipped && !model.parent)
    .map(
      (model): Run => ({
        id: model.model_id,
        status: FROM_MODEL[model.status],
        preset: model.preset,
        step: model.step,
        steps: model.steps,
        resumable: model.status === "interrupted" || model.status === "cancelled",
        error: null,
        createdAt: model.created_at,
        last: null,
        ...facts(model),
      }),
    );
  return [...fromJobs, ...alone].sort((a, b) => b.createdAt.localeCompare(a.createdAt));
}

/** Whether it can be talked to: finished, and made for text; a model of a made-up task reads its token ids alone. */
export const readsText = (model: Pick<ModelInfo, "status" | "tokenizer">): boolean => model.status === "ready" && model.tokenizer.kind !== "ids";

function facts(model: ModelInfo | undefined): Pick<Run, "params" | "corpus" | "kind" | "seed" | "usable" | "valBpb"> {
  const name = model?.corpus.name;
  return {
    params: model?.params ?? null,
    corpus: typeof name === "string" ? name : null,
    kind: model?.kind ?? null,
    seed: model?.seed ?? null,
    usable: model !== undefined && readsText(model),
    valBpb: model?.val_bpb ?? null,
  };
}

/** What a held-out figure counts: of KV retrieval an answer, of text a byte. */
export const heldOutUnit = (run: Pick<Run, "corpus">): string => (run.corpus === "kv" ? "bits an answer" : "bits per byte");

/** The same of several runs in one place. */
export function heldOutUnits(runs: readonly Pick<Run, "corpus">[]): string {
  const units = [...new Set(runs.map(heldOutUnit))];
  return units.length === 1 ? (units[0] as string) : "bits per byte; of KV runs, bits an answer";
}

/** Runs whose model can learn as it reads by meta-learning; one that was just started is known by its preset. */
export const isMeta = (run: Pick<Run, "kind" | "preset">): boolean => run.kind === "e2e" || (run.kind === null && META_PRESETS.includes(run.preset ?? ""));

/** Presets that a page can start; the official sizes are only planned. */
export const META_PRESETS: readonly string[] = ["kv_cpu", "meta_text_cpu", "meta_8k"];

export const isLive = (status: JobStatus): boolean => status === "running" || status === "queued";

/** As many runs as the charts can tell apart by colour and dash. */
export const SLOTS = 6;

/** A run keeps its slot, and so its colour and dash, while others come and go: `a,,c` leaves the second one free. */
export function parseSlots(text: string | null, id = /^[a-z0-9][a-z0-9_-]{0,63}$/): (string | null)[] {
  if (!text) return [];
  return text
    .split(",")
    .slice(0, SLOTS)
    .map((entry) => (id.test(entry) ? entry : null));
}

export function formatSlots(slots: readonly (string | null)[]): string {
  return slots.map((id) => id ?? "").join(",").replace(/,+$/, "");
}

/** Takes the run out, or puts it into the first free slot; unchanged where all are taken. */
export function toggleSlot(slots: readonly (string | null)[], id: string): (string | null)[] {
  const at = slots.indexOf(id);
  if (at >= 0) return slots.map((entry, i) => (i === at ? null : entry));
  const free = slots.indexOf(null);
  if (free >= 0) return slots.map((entry, i) => (i === free ? id : entry));
  return slots.length < SLOTS ? [...slots, id] : [...slots];
}
