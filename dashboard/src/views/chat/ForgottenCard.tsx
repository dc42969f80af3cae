import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { memo } from "react";
import { revert, verifyWithout } from "../../api/sessionVerbs";
import type { Turn } from "../../api/types";
import { clock, shortHash } from "../../lib/format";
import { Check } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import { marks, useIsMarked } from "../../ui/useMarked";
import classes from "./TurnCard.module.css";

interface Props {
  sessionId: string;
  turn: Turn;
  /** The revert that left it out. */
  by: string;
  head: string;
}

/** A turn that the session's state has not seen any more: it can be taken up again, and that nothing of it is left, certified. */
export const ForgottenCard = memo(function ForgottenCard({ sessionId, turn, by, head }: Props) {
  const ref = { kind: "text", id: sessionId } as const;
  const again = useMutation({ mutationFn: () => revert(ref, by) });
  const certify = useMutation({ mutationFn: async () => ({ head, found: await verifyWithout(ref, String(turn.turn)) }) });
  const found = certify.data?.head === head ? certify.data.found : undefined; // of this head, not of an earlier one
  const marked = useIsMarked(turn.commit);
  return (
    <article
      className={classes.forgotten}
      aria-label={`Turn ${turn.turn}, forgotten`}
      data-forgotten={turn.turn}
      data-commit={turn.commit}
      data-marked={marked || undefined}
      {...marks(turn.commit)}
    >
      <header className={classes.head}>
        <b>Turn {turn.turn}</b>
        <span title={clock(turn.created_at)}>forgotten</span>
        <code title={by}>by {shortHash(by)}</code>
        <span className={classes.actions}>
          <Button size="compact-xs" variant="default" leftSection={<Check size={13} />} loading={certify.isPending} onClick={() => certify.mutate()}>
            Certify
          </Button>
          <Button size="compact-xs" variant="default" loading={again.isPending} onClick={() => again.mutate()}>
            Take up again
          </Button>
        </span>
      </header>
      <p className={classes.said} title={turn.prompt}>
        {turn.prompt}
      </p>
      {found && (
        <p className={classes.certified} role="status" data-certified={found.ok}>
          {found.ok
            ? `Certified: the state is, bit for bit, that of a session that never saw turn ${turn.turn}.`
            : `Not certified: ${found.commits.at(-1)?.problem ?? "the state differs from that of a session that never saw it."}`}
        </p>
      )}
      <Problem error={again.error ?? certify.error} />
    </article>
  );
});
