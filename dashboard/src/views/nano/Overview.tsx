import { useMemo } from "react";
import { useLocation } from "wouter";
import { drawn as inTree, toRow } from "../../lib/sessionRows";
import { familyOf } from "../../lib/nano";
import { pickSession, rootOf } from "../../lib/tree";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { Compare } from "../sessions/Compare";
import { Details } from "../sessions/Details";
import { SessionTree } from "../sessions/Tree";
import { useTree } from "../sessions/useSessions";
import { Cards } from "./Cards";
import { ErrorCurves } from "./ErrorCurves";
import classes from "./Nano.module.css";
import type { TabProps } from "./NanoPage";
import { RunTable } from "./RunTable";
import { useChoice, useSteps, useTransactions } from "./useNano";

const COMMITS = 500;

/** Where the session comes from, how well it predicts, and what its runs did. */
export default function Overview({ view, sessions }: TabProps) {
  const { session, at } = view;
  const [search, put] = useChoice();
  const [, navigate] = useLocation();
  const rows = useMemo(() => inTree(familyOf(sessions, session).map((entry) => toRow("nano", entry)), COMMITS), [sessions, session]);
  const { tree, error: treeError } = useTree(rows);
  const steps = useSteps(session);
  const writes = useTransactions(session);
  const node = tree.get(at.commit);
  const from = tree.get(search.get("from") ?? "");
  const id = session.session_id;
  /** A commit of another session is shown as that session's. */
  const show = (commit: string, as: string | null = null) => {
    const to = tree.get(commit);
    const of = as ?? (to ? pickSession(to, id) : id);
    if (of === id) put({ at: commit });
    else navigate(`/nano/${of}/overview?at=${commit}`);
  };
  const curves = <ErrorCurves session={session} steps={steps} writes={writes.data?.updates} />;
  return (
    <>
      <Cards view={view} />
      <Problem error={treeError ?? steps.error ?? writes.error} />
      {tree.size > 0 && (
        <div className={page.middle}>
          <section className={`${page.section} ${classes.lineage}`} aria-label="Lineage">
            <SessionTree tree={tree} shown={at.commit} from={from?.id ?? null} onShow={(commit) => show(commit)} />
            {!from && curves}
          </section>
          {node && (
            <Details
              key={`${node.id} ${id}`}
              node={node}
              of={{ kind: "nano", id }}
              root={rootOf(tree, node)}
              from={from?.id ?? null}
              onSession={(other) => navigate(`/nano/${other}/overview?at=${at.commit}`)}
              onFrom={(commit) => put({ from: commit })}
              onShow={show}
            />
          )}
        </div>
      )}
      {from && from.id !== at.commit && (
        <Compare
          a={{ of: { kind: "nano", id: pickSession(from, id) }, commit: from.id }}
          b={{ of: { kind: "nano", id }, commit: at.commit }}
          onClose={() => put({ from: null })}
        />
      )}
      {(from || tree.size === 0) && curves}
      <RunTable view={view} />
    </>
  );
}
