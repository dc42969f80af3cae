import { ActionIcon, Tooltip } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { memo } from "react";
import type { SessionOptions, Turn } from "../../api/types";
import { clock, duration, plural, shortHash } from "../../lib/format";
import { Fork, Question, Undo } from "../../ui/icons";
import { ForkDialog } from "../../ui/ForkDialog";
import { marks, useIsMarked } from "../../ui/useMarked";
import { ForgetDialog } from "./ForgetDialog";
import { LearningCard } from "./LearningCard";
import { Prompt, Replies } from "./Texts";
import classes from "./TurnCard.module.css";

interface Props {
  sessionId: string;
  turn: Turn;
  policy: SessionOptions["policy"] | undefined;
  /** Asks which turns moved this one's answer. */
  onBlame: (turn: Turn) => void;
}

const STOPPED: Record<Turn["stopped"], string> = {
  length: "",
  stop: "ended at a stop text",
  eos: "ended by the model",
  cancelled: "stopped by you",
};

/** One turn that is kept; drawn anew only when it changes, however fast the next one streams. */
export const TurnCard = memo(function TurnCard({ sessionId, turn, policy, onBlame }: Props) {
  const [forking, { open, close }] = useDisclosure(false);
  const [forgetting, forget] = useDisclosure(false);
  const marked = useIsMarked(turn.commit);
  return (
    <article
      className={classes.card}
      aria-label={`Turn ${turn.turn}`}
      data-turn={turn.turn}
      data-commit={turn.commit}
      data-marked={marked || undefined}
      {...marks(turn.commit)}
    >
      <header className={classes.head}>
        <b>Turn {turn.turn}</b>
        <span title={clock(turn.created_at)}>{plural(turn.reply_tokens, "token")} in {duration(turn.seconds)}</span>
        <span>seed {turn.sampling.seed}</span>
        {STOPPED[turn.stopped] && <span>{STOPPED[turn.stopped]}</span>}
        {turn.retold && <span title="Its reply was drawn anew with its own seed, from a state that has not seen the turn that was left out.">drawn anew</span>}
        <span className={classes.commit}>
          <code title={turn.commit}>{shortHash(turn.commit)}</code>
          <Tooltip label="Which turns moved this answer">
            <ActionIcon size="sm" aria-label={`Blame the answer of turn ${turn.turn}`} onClick={() => onBlame(turn)}>
              <Question size={14} />
            </ActionIcon>
          </Tooltip>
          <Tooltip label="Forget this turn: the session as if it had never been said">
            <ActionIcon size="sm" aria-label={`Forget turn ${turn.turn}`} onClick={forget.open}>
              <Undo size={14} />
            </ActionIcon>
          </Tooltip>
          <Tooltip label="Fork the session from this turn">
            <ActionIcon size="sm" aria-label={`Fork from turn ${turn.turn}`} onClick={open}>
              <Fork size={14} />
            </ActionIcon>
          </Tooltip>
        </span>
      </header>
      {turn.warning && <p className={classes.warning}>{turn.warning}</p>}
      <Prompt text={turn.prompt} />
      <Replies
        adapted={turn.reply}
        frozen={turn.frozen_reply ?? null}
        learned={turn.learned}
      />
      <LearningCard events={turn.events} learned={turn.learned} drift={turn.drift} policy={policy} />
      {forgetting && <ForgetDialog sessionId={sessionId} turn={turn} onClose={forget.close} />}
      {forking && <ForkDialog sessionId={sessionId} at={turn.commit} from={`turn ${turn.turn}`} onClose={close} />}
    </article>
  );
});

/** An answer without learning: read, answered, and not kept. It goes when the page is loaded anew or the next turn is kept. */
export function AsideCard({ turn }: { turn: Turn }) {
  return (
    <article className={classes.aside} aria-label="Answer that is not kept">
      <header className={classes.head}>
        <b>Frozen answer</b>
        <span>
          {plural(turn.reply_tokens, "token")} in {duration(turn.seconds)}
        </span>
        <span>seed {turn.sampling.seed}</span>
        <span>not kept in the session</span>
      </header>
      <Prompt text={turn.prompt} />
      <Replies adapted={turn.reply} frozen={null} learned={false} />
    </article>
  );
}
