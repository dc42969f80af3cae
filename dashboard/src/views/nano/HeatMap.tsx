import { type KeyboardEvent, memo, type PointerEvent, useMemo, useState } from "react";
import { figure, signedFigure } from "../../lib/format";
import { type Cell, dashes, largest, type Matrix, nextCell, shades } from "../../lib/matrix";
import classes from "./HeatMap.module.css";

interface Props {
  title: string;
  /** What a row and a column stand for. */
  rows: string;
  columns: string;
  matrix: Matrix;
  /** The largest magnitude of the scale; default: the matrix's own. */
  most?: number;
  cell?: number;
  signed?: boolean;
}

/** Entries by sign and size. A dash in a cell says that it is below zero; the pointer or the arrow keys read entries. */
export function HeatMap({ title, rows, columns, matrix, most = largest(matrix), cell = 11, signed = false }: Props) {
  const [at, setAt] = useState<Cell | null>(null);
  const [tall, wide] = [matrix.length, matrix[0]?.length ?? 0];
  const under = (event: PointerEvent<SVGSVGElement>): Cell => {
    const box = event.currentTarget.getBoundingClientRect();
    const place = (value: number, start: number, size: number, n: number) => Math.min(n - 1, Math.max(0, Math.floor((n * (value - start)) / size)));
    return { row: place(event.clientY, box.top, box.height, tall), column: place(event.clientX, box.left, box.width, wide) };
  };
  const onKey = (event: KeyboardEvent) => {
    const next = at ? nextCell(at, event.key, tall, wide) : event.key.startsWith("Arrow") ? { row: 0, column: 0 } : null;
    if (!next) return;
    event.preventDefault();
    setAt(next);
  };
  const told = signed ? signedFigure : figure;
  const value = at && matrix[at.row]?.[at.column];
  return (
    <figure className={classes.map} data-map={title} data-cells={tall * wide}>
      <figcaption>
        <b>{title}</b>
        <span>{at && typeof value === "number" ? `[${at.row}, ${at.column}] ${told(value)}` : most > 0 ? `up to ${figure(most)}` : "all zero"}</span>
      </figcaption>
      <div
        className={classes.frame}
        role="application"
        aria-label={`${title}, ${tall} ${rows} by ${wide} ${columns}, entries up to ${figure(most)}; the arrow keys read them`}
        tabIndex={0}
        onKeyDown={onKey}
        onBlur={() => setAt(null)}
        style={{ maxWidth: wide * cell }}
      >
        <svg viewBox={`0 0 ${wide} ${tall}`} aria-hidden="true" onPointerMove={(event) => setAt(under(event))} onPointerLeave={() => setAt(null)}>
          <Cells matrix={matrix} most={most} />
          {at && <rect className={classes.cursor} x={at.column} y={at.row} width="1" height="1" />}
        </svg>
      </div>
      <span className="visually-hidden" role="status">
        {at && typeof value === "number" && `row ${at.row}, column ${at.column}: ${told(value)}`}
      </span>
    </figure>
  );
}

const Cells = memo(function Cells({ matrix, most }: { matrix: Matrix; most: number }) {
  const drawn = useMemo(() => ({ shades: shades(matrix, most), dashes: dashes(matrix) }), [matrix, most]);
  return (
    <>
      {drawn.shades.map((shade) => (
        <path key={`${shade.negative} ${shade.strength}`} d={shade.path} data-negative={shade.negative || undefined} fillOpacity={shade.strength} />
      ))}
      <path className={classes.dashes} d={drawn.dashes} />
    </>
  );
});

/** What the shades mean. */
export function HeatKey() {
  return (
    <span className={classes.key}>
      <svg width="132" height="12" viewBox="0 0 11 1" aria-hidden="true">
        <Cells matrix={KEY} most={1} />
      </svg>
      below zero (with a dash) to above zero, stronger the larger
    </span>
  );
}

const KEY = [[-1, -0.64, -0.36, -0.16, -0.04, 0, 0.04, 0.16, 0.36, 0.64, 1]];
