import { useElementSize } from "@mantine/hooks";
import type { NanoModelInfo } from "../../api/types";
import { whole } from "../../lib/format";
import { layGraph } from "../../lib/graph";
import css from "./Architecture.module.css";

const WIDE = 150;
const HEAD = 46;
const ROW = 17;

/** The model's graph from left to right (from top to bottom where there is little room), a lit line where a rule writes. */
export function Diagram({ model }: { model: NanoModelInfo }) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const down = width < 760;
  const heights = model.nodes.map((node) => HEAD + ROW * node.labels.length + (node.labels.length ? 8 : 0));
  const laid = layGraph(
    model.nodes.map((node, i) => ({ id: node.id, height: heights[i] as number })),
    model.edges,
    { width: Math.max(width, 280), box: WIDE, down },
  );
  const written = new Set(model.parameters.filter((parameter) => parameter.written_by.includes(model.rule)).map((parameter) => parameter.name));
  const parameter = new Map(model.parameters.map((entry) => [entry.name, entry]));
  const said = model.edges.map((edge) => `${edge.source} to ${edge.target} by ${edge.parameter ?? edge.label}`).join(", ");
  return (
    <figure className={css.diagram} aria-label={`Diagram of the model: ${said}`} data-nodes={model.nodes.length} data-edges={model.edges.length}>
      <figcaption>
        <b>Diagram</b>
        <span>
          <svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true">
            <path className={css.learned} d="M0 4h22" />
          </svg>{" "}
          learned by {model.rule}
        </span>
        <span>
          <svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true">
            <path className={css.plastic} d="M0 4h22" />
          </svg>{" "}
          plastic, not written by {model.rule}
        </span>
        <span>
          <svg width="22" height="8" viewBox="0 0 22 8" aria-hidden="true">
            <path className={css.frozen} d="M0 4h22" />
          </svg>{" "}
          frozen
        </span>
      </figcaption>
      <div ref={ref}>
        {width > 0 && (
          <svg width={laid.width} height={laid.height} aria-hidden="true">
            <defs>
              <marker id="nano-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">
                <path d="M0 0.5 7 4 0 7.5Z" className={css.head} />
              </marker>
            </defs>
            {model.edges.map((edge, i) => {
              const way = laid.edges[i];
              const tensor = edge.parameter ? parameter.get(edge.parameter) : undefined;
              const kind = !tensor?.plastic ? css.frozen : written.has(tensor.name) ? css.learned : css.plastic;
              if (!way) return null;
              return (
                <g key={`${edge.source} ${edge.target}`}>
                  <path className={kind} d={way.path} markerEnd="url(#nano-arrow)" />
                  <text className={css.edge} x={way.x} y={way.y} textAnchor={way.anchor}>
                    <tspan className={css.name}>{edge.parameter}</tspan>
                    {tensor && <tspan dx="5">{tensor.shape.slice(-2).join("×")}</tspan>}
                  </text>
                </g>
              );
            })}
            {model.nodes.map((node, i) => {
              const box = laid.boxes[i];
              if (!box) return null;
              return (
                <g key={node.id} className={css.node} data-kind={node.kind}>
                  <rect x={box.x} y={box.y} width={WIDE} height={box.height} rx="7" />
                  <text x={box.x + 12} y={box.y + 20} className={css.label}>
                    {node.label}
                  </text>
                  <text x={box.x + 12} y={box.y + 36} className={css.width}>
                    {whole(node.width)} numbers
                  </text>
                  {node.labels.map((label, row) => (
                    <text key={label} x={box.x + 12} y={box.y + HEAD + 12 + ROW * row} className={css.entry}>
                      {label}
                    </text>
                  ))}
                </g>
              );
            })}
          </svg>
        )}
      </div>
    </figure>
  );
}
