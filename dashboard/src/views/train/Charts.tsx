import { SegmentedControl } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useMemo } from "react";
import type { TrainPoint } from "../../api/types";
import { count, figure, fixed } from "../../lib/format";
import { Chart, type RunCurve } from "../../ui/Chart";
import { Swatch } from "../../ui/Swatch";
import classes from "./Charts.module.css";
import type { Shown } from "./useRuns";

type Axis = "step" | "cpu";

const FIGURES = [
  { title: "Loss", unit: "nats per token", of: (p: TrainPoint) => p.loss, format: (v: number | null) => fixed(v, 3) },
  { title: "Held-out text", unit: "bits per byte", of: (p: TrainPoint) => p.val_bpb ?? null, format: (v: number | null) => fixed(v, 3), sparse: true },
  { title: "Gradient norm", unit: "L2", of: (p: TrainPoint) => p.grad_norm, format: (v: number | null) => figure(v) },
  { title: "Throughput", unit: "tokens per second", of: (p: TrainPoint) => p.tokens_per_s, format: (v: number | null) => count(v) },
];

export function Charts({ shown }: { shown: Shown[] }) {
  const [axis, setAxis] = useLocalStorage<Axis>({ key: "fastweights-train-axis", defaultValue: "step" });
  return (
    <section aria-label="Curves" className={classes.section}>
      <div className={classes.head}>
        <ul className={classes.legend}>
          {shown.map((run) => (
            <li key={run.id}>
              <Swatch slot={run.slot} />
              <span>{run.id}</span>
            </li>
          ))}
        </ul>
        <SegmentedControl
          aria-label="Horizontal axis"
          value={axis}
          onChange={(value) => setAxis(value as Axis)}
          data={[
            { value: "step", label: "Steps" },
            { value: "cpu", label: "CPU seconds" },
          ]}
        />
      </div>
      <div className={classes.grid}>
        {FIGURES.map((figureInfo) => (
          <Figure key={figureInfo.title} {...figureInfo} shown={shown} axis={axis} />
        ))}
      </div>
    </section>
  );
}

function Figure({ of, shown, axis, ...rest }: (typeof FIGURES)[number] & { shown: Shown[]; axis: Axis }) {
  const key = shown.map((run) => `${run.id}/${run.slot}/${run.points.length}/${run.points.at(-1)?.step}`).join();
  const curves = useMemo(
    () =>
      shown.map(
        (run): RunCurve => ({
          id: run.id,
          slot: run.slot,
          x: run.points.map((point) => (axis === "step" ? point.step : point.cpu_seconds)),
          y: run.points.map(of),
        }),
      ),
    [key, axis, of],
  );
  return <Chart {...rest} xLabel={axis === "step" ? "step" : "CPU second"} curves={curves} />;
}
