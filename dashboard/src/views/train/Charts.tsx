import { SegmentedControl } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useMemo } from "react";
import type { TrainPoint } from "../../api/types";
import { count, figure, fixed } from "../../lib/format";
import { heldOutUnits } from "../../lib/runs";
import { Chart, type RunCurve } from "../../ui/Chart";
import page from "../../ui/Page.module.css";
import { Swatch } from "../../ui/Swatch";
import classes from "./Charts.module.css";
import type { Shown } from "./useRuns";

type Axis = "step" | "cpu";

interface Kind {
  title: string;
  unit: string | ((shown: Shown[]) => string);
  of: (point: TrainPoint) => number | null;
  format: (value: number | null) => string;
  sparse?: boolean;
}

const FIGURES: Kind[] = [
  { title: "Loss", unit: "nats per token", of: (p) => p.loss, format: (v) => fixed(v, 3) },
  { title: "Held out", unit: heldOutUnits, of: (p) => p.val_bpb ?? null, format: (v) => fixed(v, 3), sparse: true },
  { title: "Gradient norm", unit: "L2", of: (p) => p.grad_norm, format: (v) => figure(v) },
  { title: "Throughput", unit: "tokens per second", of: (p) => p.tokens_per_s, format: (v) => count(v) },
];

export function Charts({ shown }: { shown: Shown[] }) {
  const [axis, setAxis] = useLocalStorage<Axis>({ key: "fastweights-train-axis", defaultValue: "step" });
  return (
    <section aria-label="Curves" className={page.section}>
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
      <div className={page.grid}>
        {FIGURES.map((figureInfo) => (
          <Figure key={figureInfo.title} {...figureInfo} unit={typeof figureInfo.unit === "string" ? figureInfo.unit : figureInfo.unit(shown)} shown={shown} axis={axis} />
        ))}
      </div>
    </section>
  );
}

function Figure({ of, shown, axis, ...rest }: Kind & { unit: string; shown: Shown[]; axis: Axis }) {
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
