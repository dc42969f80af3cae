import { Button, SegmentedControl } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { Link, useLocation, useRoute, useSearchParams } from "wouter";
import { followRun } from "../../api/followRun";
import { monitorRun, monitorRuns } from "../../api/queries";
import { aligned } from "../../lib/monitor";
import { plural } from "../../lib/format";
import { Empty } from "../../ui/Empty";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { useTitle } from "../../ui/useTitle";
import { Comparison } from "./Comparison";
import { EventLog } from "./EventLog";
import { clearEnded, stop, useLive } from "./live";
import { fromLive, fromRun, type Reading } from "./reading";
import { RunForm } from "./RunForm";
import { RunHistory } from "./RunHistory";
import { RunStrip } from "./RunStrip";
import classes from "./SentryPage.module.css";
import { Telemetry } from "./Telemetry";

export default function SentryPage() {
  useTitle("Sentry");
  const [location, navigate] = useLocation();
  const [, params] = useRoute("/sentry/:id");
  const [search] = useSearchParams();
  const live = useLive();
  const runs = useQuery(monitorRuns);
  const id = params?.id ?? null;
  const other = id ? search.get("with") : null;

  // What has just ended is opened under its own address, unless another run is on show.
  useEffect(() => {
    if (live.phase !== "rest" || live.ended.length === 0) return;
    const [first, second] = live.ended;
    if (location === "/sentry") navigate(second ? `/sentry/${first}?with=${second}` : `/sentry/${first}`, { replace: true });
    clearEnded();
  }, [live.phase, live.ended, location, navigate]);

  const list = runs.data ?? [];
  const reading = live.runs.length > 0 && live.phase !== "rest";
  return (
    <div className={`${page.page} ${classes.page}`} data-open={id || reading ? true : undefined}>
      <h1 className="visually-hidden">Sentry</h1>
      <aside>
        <RunForm onStart={() => navigate("/sentry")} />
      </aside>
      <div className={page.main}>
        <Problem error={runs.error} onRetry={() => void runs.refetch()} />
        {id && reading && (
          <p className={classes.meanwhile}>
            A text is being read, {plural(live.runs.at(-1)?.events.length ?? 0, "chunk")} so far. <Link href="/sentry">Watch it</Link>
          </p>
        )}
        {id ? (
          <Stored key={`${id} ${other}`} id={id} other={other === id ? null : other} />
        ) : reading ? (
          <Live />
        ) : (
          live.ended.length === 0 && (
            <div className="panel">
              <Empty title={list.length ? "No run is open" : "No run yet"}>
                {list.length
                  ? "Put a text into the field and run it, or open one of the runs below."
                  : "Choose an example or type a text, then run it: each chunk is measured, judged and, where nothing is against it, learned. The demo takes about a second."}
              </Empty>
            </div>
          )
        )}
        {list.length > 0 && <RunHistory runs={list} current={list.find((run) => run.run_id === id) ?? null} other={other} />}
      </div>
    </div>
  );
}

/** The run that streams; two of them under two policies. */
function Live() {
  const live = useLive();
  const readings = useMemo(() => live.runs.map((run, slot) => fromLive(run, slot)), [live.runs]);
  const halt = (
    <Button variant="default" size="xs" onClick={stop} disabled={live.phase === "stopping"} aria-label="Stop reading">
      Stop
    </Button>
  );
  return <Readings readings={readings} waiting={live.of > live.runs.length} halt={halt} />;
}

/** One run of the store, and another laid over it. */
function Stored({ id, other }: { id: string; other: string | null }) {
  const first = useQuery(monitorRun(id));
  const second = useQuery({ ...monitorRun(other ?? id), enabled: other !== null });
  useFollow(id, first.data?.status === "running");
  useFollow(other, other !== null && second.data?.status === "running");
  const readings = useMemo(() => {
    if (!first.data) return [];
    if (!other || !second.data) return [fromRun(first.data, other ? "A" : "", 0)];
    return [fromRun(first.data, "A", 0), fromRun(second.data, "B", 1)];
  }, [first.data, second.data, other]);
  const error = first.error ?? (other ? second.error : null);
  if (error) return <Problem error={error} onRetry={() => void Promise.all([first.refetch(), other && second.refetch()])} />;
  if (readings.length === 0) return null;
  return <Readings readings={readings} />;
}

function useFollow(id: string | null, running: boolean): void {
  useEffect(() => {
    if (!id || !running) return;
    const left = new AbortController();
    void followRun(id, left.signal);
    return () => left.abort();
  }, [id, running]);
}

function Readings({ readings, waiting = false, halt }: { readings: Reading[]; waiting?: boolean; halt?: ReactNode }) {
  const [asked, setAsked] = useState<{ chunk: number; nth: number } | null>(null);
  const [which, setWhich] = useState("A");
  const first = useRef<HTMLElement>(null);
  const [a, b] = readings;
  const there = a !== undefined;
  // A run that was started or chosen far down on the page comes into view.
  useEffect(() => {
    const top = first.current?.getBoundingClientRect().top ?? 0;
    if (top < 0 || top > innerHeight / 2) first.current?.scrollIntoView({ block: "start" });
  }, [there]);
  const byChunk = useMemo(() => !a || !b || aligned(a.events, b.events), [a, b]);
  if (!a) return null;
  const shown = b && which === "B" ? b : a;
  const pick = (chunk: number) => setAsked((before) => ({ chunk, nth: (before?.nth ?? 0) + 1 }));
  return (
    <>
      {readings.map((reading) => (
        <RunStrip key={reading.letter} reading={reading} ref={reading === a ? first : undefined}>
          {reading.status === "running" && halt}
        </RunStrip>
      ))}
      {b && !waiting && b.status !== "running" && <Comparison a={a} b={b} onPick={pick} />}
      {a.events.length > 0 && <Telemetry readings={readings} byChunk={byChunk} onPick={pick} />}
      {(shown.events.length > 0 || shown.status === "running") && (
        <EventLog
          events={shown.events}
          live={shown.status === "running"}
          asked={asked}
          title={
            b && (
              <SegmentedControl
                aria-label="Chunks of which run"
                value={shown.letter}
                onChange={setWhich}
                data={readings.map((reading) => ({ value: reading.letter, label: `Run ${reading.letter}` }))}
              />
            )
          }
        />
      )}
    </>
  );
}
