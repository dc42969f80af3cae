import type { SessionOptions } from "../../api/types";
import { LearningCard } from "./LearningCard";
import type { Live } from "./live";
import { Prompt, Replies } from "./Texts";
import classes from "./TurnCard.module.css";

const PHASE: Record<Live["phase"], string> = {
  reading: "reading and learning",
  replying: "replying",
  stopping: "stopping",
};

/** The turn while it is being answered. */
export function LiveCard({ live, policy }: { live: Live; policy: SessionOptions["policy"] | undefined }) {
  const learned = !live.body.frozen;
  const compare = Boolean(live.body.compare);
  const phase = live.phase === "reading" && !learned ? "reading" : PHASE[live.phase];
  const writing = live.phase !== "replying" ? undefined : compare && live.frozenReply && !live.reply ? "frozen" : "adapted";
  return (
    <article className={classes.card} aria-label="Turn in progress" aria-busy="true" data-live={live.phase}>
      <header className={classes.head}>
        <b>Now</b>
        <span role="status">{phase}</span>
      </header>
      <Prompt text={live.body.message} />
      <Replies
        adapted={live.reply}
        frozen={compare ? live.frozenReply : null}
        learned={learned}
        writing={writing}
        waiting={live.phase === "reading" ? "Reading…" : live.phase === "stopping" ? "Stopping…" : "Waits for its turn…"}
      />
      {live.events.length > 0 && <LearningCard events={live.events} learned={learned} drift={live.events.at(-1)?.drift ?? null} policy={policy} />}
    </article>
  );
}
