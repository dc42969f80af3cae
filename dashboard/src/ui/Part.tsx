import type { ReactNode } from "react";
import page from "./Page.module.css";
import classes from "./Part.module.css";

/** One part of a report: its name, and how to read it. */
export function Part({ title, about, children }: { title: string; about: ReactNode; children: ReactNode }) {
  return (
    <section className={classes.part} aria-label={title}>
      <h2>{title}</h2>
      <p className={page.hint}>{about}</p>
      {children}
    </section>
  );
}

/** A table that scrolls where it is wider than the page. */
export function Wide({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className={classes.wide} tabIndex={0} role="region" aria-label={label}>
      <table className={classes.table}>{children}</table>
    </div>
  );
}

/** One column: its name, and what stands in a row of it; `words`: no numbers. The first one names the row. */
export interface Column<T> {
  name: string;
  words?: boolean;
  cell: (row: T) => ReactNode;
}

interface RowsProps<T> {
  label: string;
  rows: readonly T[];
  columns: Column<T>[];
  /** `[name, value]` of the attribute that says what a row holds. */
  mark: (row: T) => [`data-${string}`, string];
}

/** A table that is no higher than half a page. */
export function Rows<T>({ label, rows, columns: [first, ...rest], mark }: RowsProps<T>) {
  if (!first) return null;
  const numbers = (column: Column<T>) => (column.words ? undefined : true);
  return (
    <div className={classes.low}>
      <Wide label={label}>
        <thead>
          <tr>
            {[first, ...rest].map((column) => (
              <th key={column.name} scope="col" data-num={numbers(column)}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i} {...Object.fromEntries([mark(row)])}>
              <th scope="row" data-num={numbers(first)}>
                {first.cell(row)}
              </th>
              {rest.map((column) => (
                <td key={column.name} data-num={numbers(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </Wide>
    </div>
  );
}

/** A share as a bar beside its figure, so that neither colour nor length alone tells it. */
export function Bar({ share, text, note, tone = "accent" }: { share: number; text: string; note?: string; tone?: "accent" | "bad" }) {
  return (
    <span className={classes.cell} title={note}>
      <span className={classes.bar} data-tone={tone} aria-hidden="true">
        <i style={{ width: `${100 * Math.min(1, Math.max(0, share))}%` }} />
      </span>
      <span>{text}</span>
    </span>
  );
}
