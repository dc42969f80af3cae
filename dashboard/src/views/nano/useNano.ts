import { useQueries, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { useRoute, useSearchParams } from "wouter";
import { fullLog, nanoSession, nanoSteps, nanoTransactions } from "../../api/sessionVerbs";
import type { CommitInfo, NanoRows, NanoSessionDetail, NanoSessionRun } from "../../api/types";
import { lastRuns } from "../../lib/nano";
import { path } from "../../lib/tree";

export const TABS = ["overview", "weights", "transactions", "physics", "architecture"] as const;
export type Tab = (typeof TABS)[number];

const isTab = (text: string | undefined): text is Tab => TABS.some((tab) => tab === text);

/** The session and the tab that the URL names. */
export function usePlace(): { id: string | null; tab: Tab } {
  const [, params] = useRoute("/nano/:session/:tab?");
  return { id: params?.session ?? null, tab: isTab(params?.tab) ? params.tab : "overview" };
}

/** What is on show, in the URL's search. */
export function useChoice(): [URLSearchParams, (change: Record<string, string | null>) => void] {
  const [search, setSearch] = useSearchParams();
  const put = (change: Record<string, string | null>) =>
    setSearch(
      (now) => {
        const next = new URLSearchParams(now);
        for (const [name, value] of Object.entries(change)) value === null ? next.delete(name) : next.set(name, value);
        return next;
      },
      { replace: true },
    );
  return [search, put];
}

export interface NanoView {
  session: NanoSessionDetail;
  /** Every commit that the session knows. */
  log: readonly CommitInfo[];
  /** The commit on show: the head where the URL names none that the session knows. */
  at: CommitInfo;
  /** From the initial state to the head, or to the commit on show where it is not on that path. */
  line: CommitInfo[];
}

/** A session with its commits; read again as the list tells of a change. */
export function useNano(id: string, wanted: string | null): { view: NanoView | null; error: unknown; again: () => void } {
  const session = useQuery({ ...nanoSession(id), refetchInterval: 5_000 });
  const log = useQuery({ ...fullLog({ kind: "nano", id }), enabled: session.isSuccess });
  const view = useMemo(() => {
    if (!session.data || !log.data) return null;
    const at = log.data.find((commit) => commit.commit === wanted) ?? log.data.find((commit) => commit.head);
    if (!at) return null;
    const main = path(log.data);
    return { session: session.data, log: log.data, at, line: main.includes(at) ? main : path(log.data, at.commit) };
  }, [session.data, log.data, wanted]);
  const again = () => {
    void session.refetch();
    void log.refetch();
  };
  return { view, error: session.error ?? log.error, again };
}

/** Steps of runs that are drawn at most, the last ones. */
const STEPS = 40_000;

export interface Steps {
  /** Those that are read, oldest first. */
  rows: NanoRows[];
  /** The runs that are drawn: the last ones. */
  runs: NanoSessionRun[];
  loading: boolean;
  error: unknown;
}

export function useSteps(session: NanoSessionDetail): Steps {
  const runs = useMemo(() => lastRuns(session.runs, STEPS), [session.runs]);
  const found = useQueries({ queries: runs.map((run) => nanoSteps(session.session_id, run.run_id)), combine: merged });
  return { runs, ...found };
}

export const useTransactions = (session: NanoSessionDetail) =>
  useQuery({ ...nanoTransactions(session.session_id, session.head), placeholderData: (before) => (before?.session_id === session.session_id ? before : undefined) });

function merged(results: { data: NanoRows | undefined; isPending: boolean; error: unknown }[]) {
  return {
    rows: results.flatMap((result) => (result.data ? [result.data] : [])),
    loading: results.some((result) => result.isPending),
    error: results.find((result) => result.error)?.error ?? null,
  };
}
