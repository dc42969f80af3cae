import { Button, Checkbox, Group, Modal, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { fork as forkSession } from "../api/sessionVerbs";
import type { SessionKind } from "../lib/sessionRows";
import { Problem } from "./Problem";

interface Props {
  sessionId: string;
  kind?: SessionKind;
  /** Commit to fork at; none: the head. */
  at?: string;
  from: string;
  onClose: () => void;
  /** Default: to the new session's chat. */
  onForked?: (made: { session_id: string; head: string }) => void;
}

export function ForkDialog({ sessionId, kind = "text", at, from, onClose, onForked }: Props) {
  const [name, setName] = useState("");
  const [keep, setKeep] = useState(true);
  const [, navigate] = useLocation();
  const fork = useMutation({
    mutationFn: () => forkSession({ kind, id: sessionId }, { name: name.trim() || null, at: at ?? null, keep_momentum: keep }),
    onSuccess: (made) => {
      onClose();
      if (onForked) onForked(made);
      else navigate(`/chat/${made.session_id}`);
    },
  });
  return (
    <Modal opened onClose={onClose} title="Fork the session" closeButtonProps={{ "aria-label": "Close" }}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          fork.mutate();
        }}
      >
        <p className="muted" style={{ marginTop: 0 }}>
          The new session starts from {from}, with the same fast weights and the same drift origin. This one stays as it is.
        </p>
        <TextInput
          data-autofocus
          label="Id of the new session"
          placeholder="chosen for you"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={name && !/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name) ? "a–z, 0–9, - and _ only" : undefined}
          mb="md"
        />
        <Checkbox
          checked={keep}
          onChange={(event) => setKeep(event.currentTarget.checked)}
          label="Keep the rule's state (momentum); without it the rule begins anew with the same weights"
          mb="md"
        />
        <Problem error={fork.error} />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={fork.isPending}>
            Fork
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
