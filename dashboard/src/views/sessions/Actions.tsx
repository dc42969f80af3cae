import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { checkout, reset, revert, type SessionRef, verify } from "../../api/sessionVerbs";
import type { Verification } from "../../api/types";
import { plural, shortHash } from "../../lib/format";
import { nameOf, type TreeNode } from "../../lib/tree";
import { Confirm } from "../../ui/Confirm";
import { ForkDialog } from "../../ui/ForkDialog";
import { Check, Fork, Reset, Tag, Undo } from "../../ui/icons";
import { Problem } from "../../ui/Problem";
import classes from "./Sessions.module.css";
import { TagDialog } from "./TagDialog";

interface Props {
  node: TreeNode;
  of: SessionRef;
  onShow: (commit: string, session: string) => void;
}

const REVERT: Record<"run" | "turn" | "revert", (id: string, name: string) => string> = {
  run: (id, name) => `${id} gets a new commit with the state that it would have had without learning from ${name}: its steps are lived through frozen, and the runs after it are read and judged again.`,
  turn: (id, name) => `${id} gets a new commit with the state of a session that never saw ${name}: the turns after it are read and judged again, and their replies drawn anew with their own seeds.`,
  revert: (id) => `${id} gets a new commit that takes this revert back: what it is about is read the other way again, and so is all that came after.`,
};

type Asked = "fork" | "tag" | "checkout" | "reset" | "revert" | null;

/** Git's verbs on one commit. Those that move a head ask first. */
export function Actions({ node, of, onShow }: Props) {
  const [asked, setAsked] = useState<Asked>(null);
  /** The commit stays on show while a dialog asks about it, whichever one is the newest by then. */
  const ask = (what: Asked) => {
    if (what) onShow(node.id, of.id);
    setAsked(what);
  };
  const close = () => ask(null);
  const name = nameOf(node.commit);
  const isHead = node.heads.includes(of.id);
  const { kind } = node.commit;
  const revertible = kind === "run" || kind === "turn" || kind === "revert";
  const verifying = useMutation({ mutationFn: (commit: string | null) => verify(of, commit) });
  const moved = (info: { head: string }) => onShow(info.head, of.id);
  return (
    <>
      <div className={classes.actions} role="group" aria-label="Actions">
        <Button size="xs" leftSection={<Fork size={14} />} onClick={() => ask("fork")}>
          Fork
        </Button>
        <Button size="xs" variant="default" leftSection={<Tag size={14} />} onClick={() => ask("tag")}>
          Tag
        </Button>
        <Button size="xs" variant="default" disabled={isHead} title={isHead ? "It is the head" : undefined} onClick={() => ask("checkout")}>
          Check out
        </Button>
        <Button size="xs" variant="default" leftSection={<Reset size={14} />} onClick={() => ask("reset")}>
          Reset to this
        </Button>
        {revertible && (
          <Button size="xs" variant="default" leftSection={<Undo size={14} />} onClick={() => ask("revert")}>
            Revert
          </Button>
        )}
        <Button size="xs" variant="default" leftSection={<Check size={14} />} loading={verifying.isPending} onClick={() => verifying.mutate(node.id)}>
          Verify
        </Button>
        {isHead && node.parent && (
          <Button size="xs" variant="default" disabled={verifying.isPending} onClick={() => verifying.mutate(null)}>
            Verify all up to here
          </Button>
        )}
      </div>
      <Problem error={verifying.error} />
      {verifying.data && <Verified found={verifying.data} />}
      {asked === "fork" && (
        <ForkDialog
          sessionId={of.id}
          kind={of.kind}
          at={node.id}
          from={`${name} of ${of.id}`}
          onClose={close}
          onForked={(made) => onShow(made.head, made.session_id)}
        />
      )}
      {asked === "tag" && <TagDialog of={of} commit={node.id} name={name} onClose={close} />}
      {asked === "checkout" && (
        <Confirm title={`Check out ${name}?`} action="Check out" run={() => checkout(of, node.id)} onDone={moved} onClose={close}>
          The head of {of.id} moves to {name} ({shortHash(node.id)}); what comes next grows from there. The commits that it leaves stay in
          this tree.
        </Confirm>
      )}
      {asked === "reset" && (
        <Confirm title={`Reset to ${name}?`} action="Reset" run={() => reset(of, node.id)} onDone={moved} onClose={close}>
          {of.id} gets a new commit with the fast weights and the state of {name} ({shortHash(node.id)}). Its history stays.
        </Confirm>
      )}
      {asked === "revert" && (
        <Confirm title={`Revert ${name}?`} action="Revert" run={() => revert(of, node.id)} onDone={moved} onClose={close}>
          {REVERT[kind === "run" || kind === "turn" ? kind : "revert"](of.id, name)} The history stays.
        </Confirm>
      )}
    </>
  );
}

/** What the recomputation found: every commit that is not as recorded by name. */
function Verified({ found }: { found: Verification }) {
  const wrong = found.commits.filter((commit) => commit.status !== "verified");
  return (
    <div className={classes.verified} role="status" data-verified={found.ok}>
      <b>
        {found.ok
          ? `Verified: ${plural(found.verified, "commit")} recomputed, the same bit for bit.`
          : `${found.verified} of ${found.commits.length} verified.`}
      </b>
      <ul>
        {wrong.map((commit) => (
          <li key={commit.commit}>
            <code>{commit.short}</code> {commit.status}
            {commit.problem && `: ${commit.problem}`}
          </li>
        ))}
        {found.notes.map((note) => (
          <li key={note}>{note}</li>
        ))}
      </ul>
    </div>
  );
}
