import { ActionIcon, Tooltip } from "@mantine/core";
import { type Edge, ReactFlow, ReactFlowProvider, useReactFlow } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { neighbour, type Tree, type TreeNode } from "../../lib/tree";
import { Fit, Minus, Plus } from "../../ui/icons";
import { CommitNode, type CommitFlowNode } from "./CommitNode";
import classes from "./Tree.module.css";

const WIDE = 132;
const TALL = 56;
const COLUMN = 160;
const LANE = 68;
/** From here on only what is in view is in the document. */
const MANY = 1200;
const EDGE = 26;

const types = { commit: CommitNode };

interface Props {
  tree: Tree;
  shown: string | null;
  from: string | null;
  onShow: (id: string) => void;
}

/** Sessions as branches of commits, from left to right. Arrow keys go from commit to commit. */
export function SessionTree(props: Props) {
  return (
    <ReactFlowProvider>
      <Flow {...props} />
    </ReactFlowProvider>
  );
}

function Flow({ tree, shown, from, onShow }: Props) {
  const flow = useReactFlow();
  const box = useRef<HTMLDivElement>(null);
  const [byKey, setByKey] = useState<string | null>(null);
  const nodes = useMemo(() => [...tree.values()].map(toNode), [tree]);
  const edges = useMemo(() => [...tree.values()].flatMap((node) => toEdge(tree, node)), [tree]);
  const tab = shown !== null && tree.has(shown) ? shown : nodes[0]?.id;
  const marked = useMemo(
    () =>
      nodes.map((node) => {
        const role = node.id === shown ? "shown" : node.id === from ? "from" : null;
        const data = { ...node.data, role, tab: node.id === tab, focus: node.id === byKey } as const;
        return role || data.tab || data.focus ? { ...node, data } : node;
      }),
    [nodes, shown, from, tab, byKey],
  );

  /** Brings a commit into view, where it is not. */
  const reveal = (id: string) => {
    const node = tree.get(id);
    const size = box.current?.getBoundingClientRect();
    if (!node || !size) return;
    const { x, y, zoom } = flow.getViewport();
    const [left, top] = [node.column * COLUMN * zoom + x, node.lane * LANE * zoom + y];
    const inside = left >= 8 && top >= 8 && left + WIDE * zoom <= size.width - 8 && top + TALL * zoom <= size.height - 8;
    if (!inside) void flow.setCenter(node.column * COLUMN + WIDE / 2, node.lane * LANE + TALL / 2, { zoom });
  };
  useEffect(() => {
    if (shown) reveal(shown);
  }, [shown, tree]);

  const onKey = (event: KeyboardEvent) => {
    const here = (event.target as HTMLElement).dataset.commit;
    const next = here ? neighbour(tree, here, event.key) : null;
    if (!next) return;
    event.preventDefault();
    setByKey(next);
    onShow(next);
  };
  return (
    <div ref={box} className={classes.tree} onKeyDown={onKey} data-tree={tree.size}>
      <ReactFlow
        aria-label="Tree of sessions and their commits; the arrow keys lead from commit to commit"
        nodes={marked}
        edges={edges}
        nodeTypes={types}
        defaultViewport={{ x: EDGE, y: EDGE, zoom: 1 }}
        minZoom={0.1}
        maxZoom={1.6}
        nodesDraggable={false}
        nodesConnectable={false}
        nodesFocusable={false}
        edgesFocusable={false}
        elementsSelectable={false}
        disableKeyboardA11y
        panOnScroll
        zoomOnDoubleClick={false}
        deleteKeyCode={null}
        selectionKeyCode={null}
        multiSelectionKeyCode={null}
        onlyRenderVisibleElements={tree.size > MANY}
        onNodeClick={(_, node) => {
          setByKey(node.id);
          onShow(node.id);
        }}
      />
      <div className={classes.zoom}>
        <Tooltip label="Show the whole tree">
          <ActionIcon variant="default" aria-label="Show the whole tree" onClick={() => void flow.fitView({ padding: 0.06, maxZoom: 1 })}>
            <Fit />
          </ActionIcon>
        </Tooltip>
        <ActionIcon variant="default" aria-label="Larger" onClick={() => void flow.zoomIn()}>
          <Plus />
        </ActionIcon>
        <ActionIcon variant="default" aria-label="Smaller" onClick={() => void flow.zoomOut()}>
          <Minus />
        </ActionIcon>
      </div>
    </div>
  );
}

const toNode = (node: TreeNode): CommitFlowNode => ({
  id: node.id,
  type: "commit",
  position: { x: node.column * COLUMN, y: node.lane * LANE },
  width: WIDE,
  height: TALL,
  data: { node, role: null, tab: false, focus: false },
});

const STRAIGHT = { type: "straight", focusable: false };
const STEP = { type: "smoothstep", focusable: false, pathOptions: { offset: 6, borderRadius: 8 } };

function toEdge(tree: Tree, node: TreeNode): Edge[] {
  if (node.parent === null) return [];
  const straight = tree.get(node.parent)?.lane === node.lane;
  return [{ id: node.id, source: node.parent, target: node.id, ...(straight ? STRAIGHT : STEP) }];
}
