import { Handle, type Node, type NodeProps, Position } from "@xyflow/react";
import { memo, useEffect, useRef } from "react";
import { nameOf, type TreeNode } from "../../lib/tree";
import { marks, useIsMarked } from "../../ui/useMarked";
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
  const marked = useIsMarked(id);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (focus) button.current?.focus({ preventScroll: true });
  }, [focus]);
  const more = Math.max(0, heads.length - 1) + Math.max(0, tags.length - 1);
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
        data-marked={marked || undefined}
        aria-current={role === "shown" || undefined}
        title={commit.summary}
        tabIndex={tab ? 0 : -1}
        {...marks(id)}
      >
        <span className={classes.mark}>
          <i aria-hidden="true" />
          {nameOf(commit)}
          <span className="visually-hidden"> of {commit.session ?? node.sessions[0]}</span>
          {refused > 0 && <small>{refused} refused</small>}
          {commit.kind === "init" && node.kind === "nano" && <KindBadge kind={node.kind} />}
        </span>
        <span className={classes.names}>
          {heads[0] && (
            <b>
              <span className="visually-hidden">head of </span>
              {heads[0]}
            </b>
          )}
          {tags[0] && (
            <em>
              <span className="visually-hidden">tag </span>
              {tags[0].tag}
            </em>
          )}
          {more > 0 && <span title={[...heads.slice(1), ...tags.slice(1).map(({ tag }) => tag)].join(", ")}>+{more}</span>}
        </span>
      </button>
      <Handle type="source" position={Position.Right} style={MIDDLE} isConnectable={false} />
    </>
  );
});
