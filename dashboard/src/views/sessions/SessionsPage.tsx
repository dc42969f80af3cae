import { Button, TextInput } from "@mantine/core";
import { useMemo, useState } from "react";
import { useSearchParams } from "wouter";
import { plural } from "../../lib/format";
import { formatSlots, parseSlots, toggleSlot } from "../../lib/runs";
import { drawn, filterRows, KEY, keyOf, type SessionRow } from "../../lib/sessionRows";
import { pickSession, rootOf, type TreeNode } from "../../lib/tree";
import { Empty } from "../../ui/Empty";
import { Line } from "../../ui/Line";
import page from "../../ui/Page.module.css";
import { Problem } from "../../ui/Problem";
import { FOCUS_TARGET } from "../../lib/keys";
import { useTitle } from "../../ui/useTitle";
import { Compare } from "./Compare";
import { Curves, type ShownSession } from "./Curves";
import { Details } from "./Details";
import { SessionTable } from "./SessionTable";
import classes from "./Sessions.module.css";
import { SessionTree } from "./Tree";
import { useSessions, useTree } from "./useSessions";

/** About as many commits as the tree draws at first. */
const COMMITS = 500;

/** Every session as one tree of commits. What is on show is in the URL. */
export default function SessionsPage() {
  useTitle("Sessions");
  const { rows, loading, error } = useSessions();
  const [filter, setFilter] = useState("");
  const [most, setMost] = useState(COMMITS);
  const [search, setSearch] = useSearchParams();
  const found = useMemo(() => filterRows(rows, filter), [rows, filter]);
  const inTree = useMemo(() => drawn(found, most), [found, most]);
  const { tree, loading: reading, error: logError } = useTree(inTree);

  const put = (change: Record<string, string | null>) =>
    setSearch(
      (now) => {
        const next = new URLSearchParams(now);
        for (const [name, value] of Object.entries(change)) value === null ? next.delete(name) : next.set(name, value);
        return next;
      },
      { replace: true },
    );
  const newest = inTree[0];
  const at = search.get("at") ?? newest?.head ?? null;
  const node = at === null ? undefined : tree.get(at);
  const fromNode = tree.get(search.get("from") ?? "");
  const side = (of: TreeNode) => ({ of: { kind: of.kind, id: pickSession(of, search.get("of")) }, commit: of.id });
  const here = node && side(node);
  const show = (commit: string, session: string | null = search.get("of")) => put({ at: commit, of: session });

  const slots = useMemo(() => parseSlots(search.get("show"), KEY), [search]);
  const shown = useMemo(
    () => slots.flatMap((key, slot): ShownSession[] => rows.filter((row) => row.key === key).map((row) => ({ row, slot }))),
    [slots, rows],
  );
  const showSession = (row: SessionRow) => {
    if (!inTree.includes(row)) setFilter(row.id);
    show(row.head, row.id);
    document.getElementById("main")?.scrollTo({ top: 0 });
  };
  if (!loading && !error && rows.length === 0) return <Nothing />;
  return (
    <div className={page.single}>
      <div className={page.top}>
        <h1>Sessions</h1>
        <TextInput
          {...FOCUS_TARGET}
          className={classes.filter}
          aria-label="Filter the sessions"
          placeholder="id, model, first words, text or nano"
          value={filter}
          onChange={(event) => setFilter(event.currentTarget.value)}
        />
        {rows.length > 0 && (
          <p className={`${page.about} ${page.tools}`} role="status">
            {filter && `${found.length} of `}
            {plural(rows.length, "session")}, {plural(tree.size, "commit")} drawn
          </p>
        )}
      </div>
      <Problem error={error ?? logError} />
      {rows.length > 0 && found.length === 0 && (
        <div className="panel">
          <Empty title="No session holds these words" action={<Button variant="default" size="xs" onClick={() => setFilter("")}>Show all</Button>} />
        </div>
      )}
      {tree.size > 0 && (
        <div className={page.middle}>
          <div>
            <SessionTree tree={tree} shown={node?.id ?? null} from={fromNode?.id ?? null} onShow={(id) => show(id)} />
            {inTree.length < found.length && (
              <Button variant="default" size="xs" mt="xs" loading={reading} onClick={() => setMost(most + 2 * COMMITS)}>
                Draw more: {inTree.length} of {plural(found.length, "session")} are in the tree, last used first
              </Button>
            )}
          </div>
          {node && here ? (
            <Details
              key={`${node.id} ${here.of.id}`}
              node={node}
              of={here.of}
              root={rootOf(tree, node)}
              from={fromNode?.id ?? null}
              onSession={(id) => put({ of: id })}
              onFrom={(commit) => put({ from: commit })}
              onShow={show}
            />
          ) : (
            <section className={classes.details} aria-label="Commit">
              <p className={classes.summary}>Choose a commit in the tree.</p>
            </section>
          )}
        </div>
      )}
      {here && fromNode && fromNode.id !== here.commit && <Compare a={side(fromNode)} b={here} onClose={() => put({ from: null })} />}
      {shown.length > 0 && <Curves shown={shown} />}
      {found.length > 0 && (
        <SessionTable
          rows={found}
          slots={slots}
          current={here ? keyOf(here.of.kind, here.of.id) : null}
          onToggle={(key) => put({ show: formatSlots(toggleSlot(slots, key)) || null })}
          onShow={showSession}
        />
      )}
    </div>
  );
}

function Nothing() {
  return (
    <div className={page.single}>
      <h1 className="visually-hidden">Sessions</h1>
      <div className="panel">
        <Empty title="No session yet">
          Start one in Chat, or in a terminal with
          <Line text="fastweights session new" />
          <Line text="fastweights nano session new" />
          Every answered message and every run of Nano is a commit here, every fork a branch.
        </Empty>
      </div>
    </div>
  );
}
