import { useElementSize } from "@mantine/hooks";
import { memo, useMemo, useState } from "react";
import type { Decision, NanoSessionRun, NanoTransaction } from "../../api/types";
import { DECISION_LABEL } from "../../lib/events";
import { plural, whole } from "../../lib/format";
import { DECISIONS, runAt } from "../../lib/nano";
import { mark, useMarked } from "../../ui/useMarked";
import css from "./Transactions.module.css";

const LANE = 24;
const TOP = 20;
const LEFT = 84;

interface Props {
  updates: readonly NanoTransaction[];
  runs: readonly NanoSessionRun[];
  picked: number | null;
  onPick: (t: number) => void;
}

/** Each write at its step, in the lane of its outcome; the runs as parts of the line. */
export function Timeline({ updates, runs, picked, onPick }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const marked = useMarked();
  const [near, setNear] = useState<NanoTransaction | null>(null);
  const from = runs[0]?.from_step ?? 0;
  const to = Math.max(runs.at(-1)?.to_step ?? 1, from + 1);
  const place = useMemo(() => (step: number) => LEFT + ((width - LEFT - 10) * (step - from)) / (to - from), [width, from, to]);
  const at = (clientX: number, box: DOMRect) => {
    const step = from + ((clientX - box.left - LEFT) / (width - LEFT - 10)) * (to - from);
    let best: NanoTransaction | null = null;
    for (const update of updates) if (!best || Math.abs(update.t - step) < Math.abs(best.t - step)) best = update;
    setNear(best);
    mark((runAt(runs, Math.max(from + 1, Math.round(step))) ?? null)?.commit ?? null);
  };
  const told = near ?? updates.find((update) => update.t === picked) ?? null;
  const tall = TOP + LANE * DECISIONS.length;
  return (
    <figure className={css.timeline} data-timeline={updates.length} aria-label={`Timeline: ${plural(updates.length, "write")} from step ${whole(from)} to ${whole(to)}`}>
      <figcaption>
        <b>Timeline</b>
        <span>{told ? `step ${whole(told.t)}, run ${told.turn}: ${told.sentence}` : `${plural(updates.length, "write")}, steps ${whole(from)} to ${whole(to)}`}</span>
      </figcaption>
      <div ref={ref} className={css.lanes} style={{ height: tall }}>
        {width > 0 && (
          <svg
            width={width}
            height={tall}
            aria-hidden="true"
            onPointerMove={(event) => at(event.clientX, event.currentTarget.getBoundingClientRect())}
            onPointerLeave={() => {
              setNear(null);
              mark(null);
            }}
            onClick={() => near && onPick(near.t)}
          >
            {runs.map((run) => {
              const [left, right] = [place(run.from_step), place(run.to_step)];
              return (
                <g key={run.run_id} data-run={run.run_id} data-marked={run.commit === marked || undefined} className={css.band}>
                  <rect x={left} y={0} width={Math.max(1, right - left)} height={tall} />
                  <path d={`M${left} 0V${tall}`} />
                  {right - left > 44 && (
                    <text x={left + 5} y={13}>
                      run {run.turn}
                    </text>
                  )}
                </g>
              );
            })}
            {DECISIONS.map((decision, i) => (
              <text key={decision} x={0} y={TOP + LANE * (i + 0.5) + 4} data-decision={decision}>
                {DECISION_LABEL[decision]}
              </text>
            ))}
            <Marks updates={updates} place={place} />
            {told && <path className={css.cursor} d={`M${place(told.t)} ${TOP}V${tall}`} />}
          </svg>
        )}
      </div>
    </figure>
  );
}

const SHAPES: Record<Decision, (x: number, y: number) => string> = {
  committed: (x, y) => `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`,
  blocked: (x, y) => `M${x - 3.4} ${y - 3.4}h6.8v6.8h-6.8Z`,
  rolled_back: (x, y) => `M${x} ${y + 4.4}l-4.6 -8h9.2Z`,
};

/** One path an outcome: a thousand writes are as quick as ten. */
const Marks = memo(function Marks({ updates, place }: { updates: readonly NanoTransaction[]; place: (step: number) => number }) {
  return DECISIONS.map((decision, i) => {
    const y = TOP + LANE * (i + 0.5);
    const d = updates.filter((update) => update.status === decision).map((update) => SHAPES[decision](+place(update.t).toFixed(1), y));
    return <path key={decision} className={css.marks} data-decision={decision} d={d.join("")} />;
  });
});
