import { useQueries, useQuery } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import { useSearchParams } from "wouter";
import { fetchMetrics, metricsKey } from "../../api/follow";
import { jobs, models, queryClient } from "../../api/queries";
import type { TrainPoint } from "../../api/types";
import { formatSlots, joinRuns, parseSlots, type Run, toggleSlot } from "../../lib/runs";
import { mergePoints } from "../../lib/series";

/** All runs, and the slots of those that the charts overlay. The choice is in the URL; without one it is the newest run. */
export function useRuns() {
  const jobList = useQuery(jobs);
  const modelList = useQuery(models);
  const runs = useMemo(() => joinRuns(jobList.data ?? [], modelList.data ?? []), [jobList.data, modelList.data]);
  const [search, setSearch] = useSearchParams();
  const chosen = search.get("runs");
  const newest = runs[0]?.id;
  const slots = useMemo(
    () => (chosen === null && newest ? [newest] : parseSlots(chosen)),
    [chosen, newest],
  );
  const choose = useCallback(
    (next: (string | null)[]) => setSearch({ runs: formatSlots(next) }, { replace: true }),
    [setSearch],
  );
  return {
    runs,
    slots,
    loading: jobList.isPending || modelList.isPending,
    error: jobList.error ?? modelList.error,
    toggle: (id: string) => choose(toggleSlot(slots, id)),
    /** Puts a run into the charts, in place of all others where there is no room. */
    show: (id: string) => {
      if (slots.includes(id)) return;
      const next = toggleSlot(slots, id);
      choose(next.includes(id) ? next : [id]);
    },
    /** Without a choice the newest run shows by itself. */
    showNew: (id: string) => {
      if (chosen === null) return;
      const next = toggleSlot(slots, id);
      choose(next.includes(id) ? next : [id]);
    },
  };
}

export interface Shown {
  id: string;
  slot: number;
  corpus: string | null;
  points: TrainPoint[];
}

/** The rows of the overlaid runs; those still running are added to by `Follow`. */
export function useShown(slots: (string | null)[], runs: Run[]): { shown: Shown[]; error: unknown } {
  const wanted = useMemo(
    () => slots.flatMap((id, slot) => runs.filter((run) => run.id === id).map(({ corpus }) => ({ id: id as string, slot, corpus }))),
    [slots, runs],
  );
  const results = useQueries({
    queries: wanted.map(({ id }) => ({
      queryKey: metricsKey(id),
      // Rows that the stream brought meanwhile stay.
      queryFn: async () => mergePoints(queryClient.getQueryData<TrainPoint[]>(metricsKey(id)) ?? [], await fetchMetrics(id)),
    })),
  });
  const shown = wanted.map((entry, i) => ({ ...entry, points: results[i]?.data ?? [] }));
  return { shown, error: results.find((result) => result.error)?.error ?? null };
}
