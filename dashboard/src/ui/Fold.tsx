import type { ReactNode } from "react";
import classes from "./Fold.module.css";
import { Chevron } from "./icons";

/** A part that opens: its name, and in one line what is in it. */
export function Fold({ title, about, open, children }: { title: ReactNode; about?: ReactNode; open?: boolean; children: ReactNode }) {
  return (
    <details className={classes.fold} open={open}>
      <summary>
        <Chevron size={14} />
        <span>{title}</span>
        {about && <small>{about}</small>}
      </summary>
      {children}
    </details>
  );
}
