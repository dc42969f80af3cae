import { Button, Group, Modal, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { type SessionRef, tag } from "../../api/sessionVerbs";
import { Problem } from "../../ui/Problem";

export function TagDialog({ of, commit, name, onClose }: { of: SessionRef; commit: string; name: string; onClose: () => void }) {
  const [text, setText] = useState("");
  const tagging = useMutation({ mutationFn: () => tag(of, text.trim(), commit), onSuccess: onClose });
  return (
    <Modal opened onClose={onClose} title={`Tag ${name} of ${of.id}`} closeButtonProps={{ "aria-label": "Close" }}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          tagging.mutate();
        }}
      >
        <TextInput
          data-autofocus
          label="Tag"
          description="A name for the commit. It can be given wherever a commit is asked for; its state is kept as long as the tag is."
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
          mb="md"
        />
        <Problem error={tagging.error} />
        <Group justify="flex-end" mt="md">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={!text.trim()} loading={tagging.isPending}>
            Tag
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
