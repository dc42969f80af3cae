import { type KeyboardEvent, useEffect, useRef } from "react";
import type { CommitInfo } from "../../api/types";
import { shortHash } from "../../lib/format";
import { nameOf } from "../../lib/tree";
import { marks, useIsMarked } from "../../ui/useMarked";
import classes from "./CommitRail.module.css";
import { type NanoView, useChoice } from "./useNano";

/** The commits up to the head as stops on a line: the one on show is chosen here, arrow keys go along. */
export function CommitRail({ view }: { view: NanoView }) {
  const [, put] = useChoice();
  const rail = useRef<HTMLOListElement>(null);
  const { line, at } = view;
  useEffect(() => {
    const stop = rail.current?.querySelector<HTMLElement>("[aria-current]");
    if (!rail.current || !stop) return;
    const { left, width } = stop.getBoundingClientRect();
    const box = rail.current.getBoundingClientRect();
    if (left < box.left || left + width > box.right) rail.current.scrollLeft += left - box.left - box.width / 2;
  }, [at.commit]);
  const show = (commit: CommitInfo) => put({ at: commit.head ? null : commit.commit });
  const onKey = (event: KeyboardEvent) => {
    const last = line.length - 1;
    const focused = (event.target as HTMLElement).dataset.stop;
    const here = line.findIndex((commit) => commit.commit === focused);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = line[Math.min(last, Math.max(0, to))];
    if (!next) return;
    show(next);
    rail.current?.querySelectorAll("button")[line.indexOf(next)]?.focus();
  };
  return (
    <nav className={classes.rail} aria-label="Commits">
      <ol ref={rail} onKeyDown={onKey}>
        {line.map((commit) => (
          <Stop key={commit.commit} commit={commit} here={commit === at} onShow={() => show(commit)} />
        ))}
      </ol>
    </nav>
  );
}

function Stop({ commit, here, onShow }: { commit: CommitInfo; here: boolean; onShow: () => void }) {
  const marked = useIsMarked(commit.commit);
  const refused = commit.blocked + commit.rolled_back;
  return (
    <li>
      <button
        type="button"
        aria-current={here || undefined}
        data-stop={commit.commit}
        data-kind={commit.kind}
        data-marked={marked || undefined}
        tabIndex={here ? 0 : -1}
        title={`${shortHash(commit.commit)}: ${commit.summary}`}
        onClick={onShow}
        {...marks(commit.commit)}
      >
        <i aria-hidden="true" />
        {nameOf(commit)}
        {commit.tags.map((tag) => (
          <em key={tag}>{tag}</em>
        ))}
        {refused > 0 && <small>{refused} refused</small>}
        {commit.head && <b>head</b>}
      </button>
    </li>
  );
}
