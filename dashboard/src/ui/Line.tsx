import { Fragment } from "react";
import classes from "./Line.module.css";

/** What to type in a terminal; it breaks between words alone, never inside an option. */
export function Line({ text }: { text: string }) {
  return (
    <code className={classes.line}>
      {text.split(" ").map((word, i) => (
        <Fragment key={i}>
          {i > 0 && " "}
          <span>{word}</span>
        </Fragment>
      ))}
    </code>
  );
}
