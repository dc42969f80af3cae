import type { SessionKind } from "../../lib/sessionRows";
import classes from "./Sessions.module.css";

const NAMES: Record<SessionKind, string> = { text: "text", nano: "Nano" };

export function KindBadge({ kind }: { kind: SessionKind }) {
  return (
    <span className={classes.kind} data-kind={kind}>
      {NAMES[kind]}
    </span>
  );
}
