import { useEffect, useRef, useState } from "react";
import { isLive } from "../../lib/runs";
import { Empty } from "../../ui/Empty";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { useTitle } from "../../ui/useTitle";
import { Charts } from "./Charts";
import { Follow } from "./Follow";
import { RunStrip } from "./RunStrip";
import { RunTable } from "./RunTable";
import { TrainForm } from "./TrainForm";
import classes from "./TrainPage.module.css";
import { useRuns, useShown } from "./useRuns";

/** Browsers open six connections to a server at most; runs beyond these are polled. */
const STREAMS = 3;

export default function TrainPage() {
  useTitle("Train");
  const { runs, slots, loading, error, toggle, show, showNew } = useRuns();
  const { shown, error: curveError } = useShown(slots, runs);
  const [picked, setPicked] = useState<string | null>(null);
  const focus = runs.find((run) => run.id === picked) ?? runs.find((run) => slots.includes(run.id)) ?? runs[0];
  const live = runs.filter((run) => isLive(run.status));
  const strips = focus ? [focus, ...live.filter((run) => run.id !== focus.id)] : [];

  // A run that was chosen in the table, or just started, is brought into view.
  const first = useRef<HTMLElement>(null);
  useEffect(() => {
    if (picked) first.current?.scrollIntoView({ block: "nearest" });
  }, [picked]);

  return (
    <div className={`${page.page} ${classes.page}`}>
      <h1 className="visually-hidden">Train</h1>
      {live.map((run, i) => (
        <Follow key={run.id} id={run.id} streaming={i < STREAMS} />
      ))}
      <aside>
        <TrainForm
          onStarted={(job) => {
            setPicked(job.model_id);
            showNew(job.model_id);
          }}
        />
      </aside>
      <div className={page.main}>
        <Problem error={error ?? curveError} />
        {!loading && !error && runs.length === 0 && (
          <div className="panel">
            <Empty title="No run yet">
              Start one with the form: the smallest preset on the corpus <code>tiny</code> needs no download and shows its
              first curve within seconds. Finished models appear in Chat.
            </Empty>
          </div>
        )}
        {strips.map((run, i) => (
          <RunStrip key={run.id} run={run} ref={i === 0 ? first : undefined} />
        ))}
        {shown.length > 0 && <Charts shown={shown} />}
        {runs.length > 0 && shown.length === 0 && !loading && (
          <div className="panel">
            <Empty title="No run is shown">Tick one or more in the table to see their curves, each with its own colour and dash.</Empty>
          </div>
        )}
        {runs.length > 0 && (
          <RunTable
            runs={runs}
            slots={slots}
            focus={focus?.id ?? null}
            onToggle={toggle}
            onFocus={(id) => {
              setPicked(id);
              show(id);
            }}
          />
        )}
      </div>
    </div>
  );
}
