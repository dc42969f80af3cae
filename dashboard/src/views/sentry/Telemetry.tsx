import { Checkbox } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useMemo } from "react";
import type { MonitorEvent } from "../../api/types";
import { DECISION_LABEL } from "../../lib/events";
import { figure, fixed, signed } from "../../lib/format";
import type { ChartMark } from "../../lib/marks";
import { Chart, type RunCurve } from "../../ui/Chart";
import { DecisionMark } from "../../ui/Status";
import { Swatch } from "../../ui/Swatch";
import type { Reading } from "./reading";
import classes from "./Telemetry.module.css";

interface Series {
  key: string;
  title: string;
  unit: string;
  format: (value: number | null) => string;
  lines: { label?: string; of: (event: MonitorEvent) => number | null }[];
}

const SERIES: readonly Series[] = [
  { key: "gradient", title: "Write pressure", unit: "gradient norm, L2", format: figure, lines: [{ of: (e) => e.grad_norm }] },
  {
    key: "update",
    title: "Update",
    unit: "L2",
    format: figure,
    lines: [
      { label: "attempted", of: (e) => e.attempted_update_norm },
      { label: "written", of: (e) => e.update_norm },
    ],
  },
  { key: "loss", title: "Loss", unit: "nats per token", format: (v) => fixed(v, 3), lines: [{ of: (e) => e.loss }] },
  { key: "canary", title: "Canary rise", unit: "nats, the largest", format: (v) => signed(v, 4), lines: [{ of: (e) => e.canary_delta }] },
  { key: "cosine", title: "Alignment", unit: "cosine to the canaries", format: (v) => signed(v, 3), lines: [{ of: (e) => e.grad_canary_cos }] },
  { key: "drift", title: "Drift", unit: "nats above the start", format: (v) => signed(v, 4), lines: [{ of: (e) => e.drift }] },
  { key: "cusum", title: "CUSUM", unit: "nats, small rises summed", format: (v) => fixed(v, 4), lines: [{ of: (e) => e.cusum }] },
  { key: "compression", title: "Compression", unit: "zlib bytes per byte", format: (v) => fixed(v, 3), lines: [{ of: (e) => e.compression_ratio }] },
];
const FIRST = ["gradient", "update", "loss", "canary", "cosine", "drift"];

interface Props {
  readings: Reading[];
  /** Chunks of both runs hold the same text; else they are laid by their first token. */
  byChunk: boolean;
  onPick: (chunk: number) => void;
}

/** The figures of every chunk, one chart each under one pointer, with the refused chunks marked. */
export function Telemetry({ readings, byChunk, onPick }: Props) {
  const [kept, setChosen] = useLocalStorage<string[]>({ key: "fastweights-sentry-series", defaultValue: FIRST });
  const chosen = Array.isArray(kept) ? kept : FIRST;
  const at = (event: MonitorEvent) => (byChunk ? event.chunk_index : event.token_start);
  const marks = useMemo(
    () =>
      readings.flatMap((reading, row) =>
        reading.events.flatMap((event): ChartMark[] => (event.decision === "committed" ? [] : [{ x: at(event), decision: event.decision, row, letter: reading.letter || undefined }])),
      ),
    [readings, byChunk],
  );
  const tell = useMemo(() => {
    const found = readings.map((reading) => new Map(reading.events.map((event) => [at(event), event])));
    return (x: number) => {
      const said = readings.flatMap((reading, i) => {
        const event = found[i]?.get(x);
        return event ? [`${reading.letter && `${reading.letter} `}${DECISION_LABEL[event.decision]}`] : [];
      });
      return said.join(", ") || null;
    };
  }, [readings, byChunk]);
  const two = readings.length > 1;
  return (
    <section aria-label="Telemetry" className={classes.section}>
      <div className={classes.head}>
        <div className={classes.legend}>
          {two &&
            readings.map((reading) => (
              <span key={reading.letter}>
                <Swatch slot={reading.slot} /> <b>{reading.letter}</b> {reading.id}
              </span>
            ))}
          <DecisionMark decision="blocked" />
          <DecisionMark decision="rolled_back" />
        </div>
        <Checkbox.Group aria-label="Charts" value={chosen} onChange={setChosen}>
          <div className={classes.choice}>
            {SERIES.map((series) => (
              <Checkbox key={series.key} value={series.key} label={series.title} />
            ))}
          </div>
        </Checkbox.Group>
      </div>
      {chosen.length === 0 && <p className={classes.none}>Tick a figure above to draw it chunk by chunk.</p>}
      <div className={classes.grid}>
        {SERIES.filter((series) => chosen.includes(series.key)).map((series) => (
          <One key={series.key} series={series} readings={readings} byChunk={byChunk} marks={marks} tell={tell} onPick={onPick} />
        ))}
      </div>
    </section>
  );
}

interface OneProps extends Props {
  series: Series;
  marks: ChartMark[];
  tell: (x: number) => string | null;
}

function One({ series, readings, byChunk, marks, tell, onPick }: OneProps) {
  const curves = useMemo(
    () =>
      readings.flatMap((reading) =>
        series.lines.map((line, i): RunCurve => {
          const label = [readings.length > 1 ? reading.letter : "", line.label ?? ""].filter(Boolean).join(" ");
          return {
            id: `${reading.letter}${line.label ?? series.key}`,
            slot: reading.slot + 2 * i,
            label: label || undefined,
            x: reading.events.map((event) => (byChunk ? event.chunk_index : event.token_start)),
            y: reading.events.map(line.of),
          };
        }),
      ),
    [readings, series, byChunk],
  );
  return (
    <Chart
      title={series.title}
      unit={series.unit}
      xLabel={byChunk ? "chunk" : "token"}
      curves={curves}
      format={series.format}
      sync="sentry"
      height={150}
      marks={marks}
      tell={tell}
      onPick={byChunk ? onPick : undefined}
    />
  );
}
