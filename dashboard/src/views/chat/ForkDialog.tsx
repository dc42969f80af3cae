import { Button, Group, Modal, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { api, take } from "../../api/client";
import { queryClient, sessions } from "../../api/queries";
import { Problem } from "../../ui/Problem";

interface Props {
  sessionId: string;
  /** Commit to fork at; none: the head. */
  at?: string;
  from: string;
  onClose: () => void;
}

export function ForkDialog({ sessionId, at, from, onClose }: Props) {
  const [name, setName] = useState("");
  const [, navigate] = useLocation();
  const fork = useMutation({
    mutationFn: () =>
      take(
        api.POST("/api/text/sessions/{session_id}/fork", {
          params: { path: { session_id: sessionId } },
          body: { name: name.trim() || null, at: at ?? null, keep_momentum: true },
        }),
      ),
    onSuccess: (made) => {
      void queryClient.invalidateQueries({ queryKey: sessions.queryKey });
      onClose();
      navigate(`/chat/${made.session_id}`);
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
