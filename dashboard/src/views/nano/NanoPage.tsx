import { Button, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import { Link, Redirect, useLocation } from "wouter";
import { nanoSessions } from "../../api/sessionVerbs";
import type { NanoSession } from "../../api/types";
import { figure, plural, whole } from "../../lib/format";
import { Boundary } from "../../ui/Boundary";
import { Empty } from "../../ui/Empty";
import { Plus } from "../../ui/icons";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";
import { useCurrentInView } from "../../ui/useCurrentInView";
import { useTitle } from "../../ui/useTitle";
import { CommitRail } from "./CommitRail";
import classes from "./Nano.module.css";
import { NewNano } from "./NewNano";
import { RunBox } from "./RunBox";
import { type NanoView, type Tab, TABS, useChoice, useNano, usePlace } from "./useNano";

export interface TabProps {
  view: NanoView;
  sessions: NanoSession[];
}

const VIEWS: Record<Tab, React.LazyExoticComponent<React.ComponentType<TabProps>>> = {
  overview: lazy(() => import("./Overview")),
  weights: lazy(() => import("./Weights")),
  transactions: lazy(() => import("./Transactions")),
  physics: lazy(() => import("./Physics")),
  architecture: lazy(() => import("./Architecture")),
};

const nameOf = (tab: Tab): string => tab.charAt(0).toUpperCase() + tab.slice(1);

/** Sessions of Nano, one at a time under five tabs. What is on show is in the URL. */
export default function NanoPage() {
  const { id, tab } = usePlace();
  const { data: sessions, error, isPending, refetch } = useQuery(nanoSessions);
  const [asked, ask] = useState(false);
  const [, navigate] = useLocation();
  useTitle(id ? `${nameOf(tab)} of ${id}` : "Nano");
  const dialog = asked && <NewNano onClose={() => ask(false)} onMade={(made) => navigate(`/nano/${made.session_id}/overview`)} />;
  if (!id && sessions?.[0]) return <Redirect to={`/nano/${sessions[0].session_id}/overview`} replace />;
  if (!id || !sessions) {
    return (
      <div className={page.single}>
        <h1 className="visually-hidden">Nano</h1>
        <Problem error={error} onRetry={() => void refetch()} />
        {isPending && <p className={page.wait}>Reading the sessions …</p>}
        {sessions && <Nothing onNew={() => ask(true)} />}
        {dialog}
      </div>
    );
  }
  return (
    <div className={page.single}>
      <One key={id} id={id} tab={tab} sessions={sessions} onNew={() => ask(true)} />
      {dialog}
    </div>
  );
}

function One({ id, tab, sessions, onNew }: { id: string; tab: Tab; sessions: NanoSession[]; onNew: () => void }) {
  const [search] = useChoice();
  const { view, error, again } = useNano(id, search.get("at"));
  const [, navigate] = useLocation();
  const at = search.get("at");
  const View = VIEWS[tab];
  const tabs = useCurrentInView(tab);
  return (
    <>
      <div className={page.top}>
        <h1>Nano</h1>
        <Select
          {...FOCUS_TARGET}
          className={classes.session}
          aria-label="Session"
          searchable
          limit={50}
          data={sessions.map((session) => session.session_id)}
          value={id}
          onChange={(next) => next && navigate(`/nano/${next}/${tab}`)}
        />
        {view && (
          <p className={page.about}>
            {view.session.model} world {view.session.options.seed}
            {view.session.options.noise > 0 && `, noise ${figure(view.session.options.noise)}`} · {view.session.options.learning.rule} · {plural(view.session.n_turns, "run")},{" "}
            {whole(view.session.step)} steps
          </p>
        )}
        <div className={page.tools}>
          {view && <RunBox session={view.session} />}
          <Button variant="default" size="xs" leftSection={<Plus size={14} />} onClick={onNew}>
            New session
          </Button>
        </div>
      </div>
      <nav ref={tabs} aria-label="Parts of Nano" className={classes.tabs}>
        {TABS.map((name) => (
          <Link key={name} href={`/nano/${id}/${name}${at ? `?at=${at}` : ""}`} aria-current={name === tab ? "page" : undefined}>
            {nameOf(name)}
          </Link>
        ))}
      </nav>
      <Problem error={error} onRetry={again} />
      {!view && !error && <p className={page.wait}>Reading {id} …</p>}
      {view && (
        <>
          {tab !== "overview" && tab !== "architecture" && <CommitRail view={view} />}
          <Boundary key={tab}>
            <Suspense fallback={null}>
              <View view={view} sessions={sessions} />
            </Suspense>
          </Boundary>
        </>
      )}
    </>
  );
}

function Nothing({ onNew }: { onNew: () => void }) {
  return (
    <div className="panel">
      <Empty title="No session of Nano yet" action={<Button onClick={onNew}>New session</Button>}>
        Nano is a small state-space model that learns a point mass while it watches it. Start a session here, or in a terminal with
        <Line text="fastweights nano session new --name first" />
        <Line text="fastweights nano session run first --steps 1000" />
        The first one of a mode trains its base model, which takes about a second.
      </Empty>
    </div>
  );
}
