import { Handle, type Node, type NodeProps, Position } from "@xyflow/react";
import { memo, useEffect, useRef } from "react";
import { plural } from "../../lib/format";
import { nameOf, type TreeNode } from "../../lib/tree";
import { KindBadge } from "./KindBadge";
import classes from "./Tree.module.css";

export interface CommitData extends Record<string, unknown> {
  node: TreeNode;
  /** The commit on show, and the one that it is compared with. */
  role: "shown" | "from" | null;
  /** It takes Tab; the arrows lead on from there. */
  tab: boolean;
  /** It was reached by an arrow key. */
  focus: boolean;
}

export type CommitFlowNode = Node<CommitData, "commit">;

/** Middle of the mark: where lines end. */
const MIDDLE = { top: 16 };

export const CommitNode = memo(function CommitNode({ id, data }: NodeProps<CommitFlowNode>) {
  const { node, role, tab, focus } = data;
  const { commit, heads, tags } = node;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (focus) button.current?.focus({ preventScroll: true });
  }, [focus]);
  const refused = commit.blocked + commit.rolled_back;
  return (
    <>
      <Handle type="target" position={Position.Left} style={MIDDLE} isConnectable={false} />
      <button
        ref={button}
        type="button"
        className={classes.commit}
        data-commit={id}
        data-kind={commit.kind}
        data-role={role ?? undefined}
        data-head={heads.length > 0 || undefined}
        aria-current={role === "shown" || undefined}
        aria-label={tell(node)}
        title={commit.summary}
        tabIndex={tab ? 0 : -1}
      >
        <span className={classes.mark}>
          <i aria-hidden="true" />
          {nameOf(commit)}
          {refused > 0 && <small>{refused} refused</small>}
          {commit.kind === "init" && node.kind === "nano" && <KindBadge kind={node.kind} />}
        </span>
        <span className={classes.names}>
          {heads[0] && <b>{heads[0]}</b>}
          {tags[0] && <em>{tags[0].tag}</em>}
          {more(heads.length, tags.length) > 0 && <span>+{more(heads.length, tags.length)}</span>}
        </span>
      </button>
      <Handle type="source" position={Position.Right} style={MIDDLE} isConnectable={false} />
    </>
  );
});

const more = (heads: number, tags: number): number => Math.max(0, heads - 1) + Math.max(0, tags - 1);

function tell({ commit, heads, tags, sessions }: TreeNode): string {
  const counts = [
    commit.committed > 0 && `${commit.committed} committed`,
    commit.blocked > 0 && `${commit.blocked} blocked`,
    commit.rolled_back > 0 && `${commit.rolled_back} rolled back`,
  ];
  const parts = [
    `${nameOf(commit)} of ${commit.session ?? sessions[0]}`,
    ...counts,
    heads.length > 0 && `head of ${heads.join(" and ")}`,
    tags.length > 0 && `${plural(tags.length, "tag")} ${tags.map(({ tag }) => tag).join(" and ")}`,
  ];
  return parts.filter(Boolean).join(", ");
}
