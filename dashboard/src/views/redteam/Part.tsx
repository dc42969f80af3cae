import type { ReactNode } from "react";
import classes from "./Redteam.module.css";

/** One part of a report: its name, and how to read it. */
export function Part({ title, about, children }: { title: string; about: ReactNode; children: ReactNode }) {
  return (
    <section className={classes.part} aria-label={title}>
      <h2>{title}</h2>
      <p className={classes.hint}>{about}</p>
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
