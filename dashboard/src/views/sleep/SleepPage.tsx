import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useLocation, useRoute } from "wouter";
import { sleepEvidence, sleeps } from "../../api/queries";
import { Empty } from "../../ui/Empty";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { useTitle } from "../../ui/useTitle";
import { CandidateList } from "./CandidateList";
import { CandidateStrip } from "./CandidateStrip";
import { Evidence } from "./Evidence";
import classes from "./Sleep.module.css";
import { SleepForm } from "./SleepForm";

/** Sleep moves what sessions learned into a copy of the slow weights; here such a candidate is looked at and decided on. */
export default function SleepPage() {
  const [, params] = useRoute("/sleep/:id");
  const id = params?.id ?? null;
  useTitle(id ? `Sleep: ${id}` : "Sleep");
  const [, navigate] = useLocation();
  const list = useQuery(sleeps);
  const rows = list.data ?? [];
  const others = rows.filter((row) => row.status === "running" && row.model_id !== id);
  return (
    <div className={`${page.page} ${classes.page}`} data-open={id ? true : undefined}>
      <h1 className="visually-hidden">Sleep</h1>
      <aside>
        <SleepForm onStarted={(row) => navigate(`/sleep/${row.model_id}`)} />
      </aside>
      <div className={page.main}>
        <Problem error={list.error} onRetry={() => void list.refetch()} />
        {others.map((row) => (
          <CandidateStrip key={row.model_id} candidate={row} />
        ))}
        {id && <One key={id} id={id} />}
        {!id && list.data && (
          <div className="panel">
            <Empty title={rows.length ? "No candidate is open" : "No sleep yet"}>
              {rows.length ? (
                "Open one of the candidates below: its evidence, and what can be decided on it."
              ) : (
                <>
                  Sleep takes what sessions have learned into a copy of the model's slow weights: a candidate, which changes nothing until it is approved.
                  Talk to a model in Chat first, then start a sleep with the form, or in a terminal with
                  <Line text="fastweights sleep" />
                </>
              )}
            </Empty>
          </div>
        )}
        {rows.length > 0 && <CandidateList rows={rows} current={id} />}
      </div>
    </div>
  );
}

function One({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(sleepEvidence(id));
  const top = useRef<HTMLDivElement>(null);
  const there = data !== undefined;
  useEffect(() => {
    const at = top.current?.getBoundingClientRect().top ?? 0;
    if (at < 0 || at > innerHeight / 2) top.current?.scrollIntoView({ block: "start" });
  }, [there]);
  if (error) return <Problem error={error} onRetry={() => void refetch()} />;
  if (!data) return null;
  return (
    <div ref={top} className={classes.open} data-evidence={data.manifest ? id : undefined}>
      <CandidateStrip candidate={data.candidate} manifest={data.manifest} />
      {data.manifest && <Evidence manifest={data.manifest} />}
    </div>
  );
}
