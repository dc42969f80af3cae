import { useMemo } from "react";
import type { NanoSessionRun } from "../../api/types";
import type { ChartBand } from "../../lib/marks";
import { useMarked } from "../../ui/useMarked";

/** Each run's part of the trajectory; the one that is pointed at anywhere on the page stands out. */
export function useBands(runs: readonly NanoSessionRun[]): ChartBand[] {
  const marked = useMarked();
  const known = runs.some((run) => run.commit === marked) ? marked : null;
  return useMemo(
    () => runs.map((run) => ({ name: `run ${run.turn}`, from: run.from_step, to: run.to_step, on: run.commit === known })),
    [runs, known],
  );
}
