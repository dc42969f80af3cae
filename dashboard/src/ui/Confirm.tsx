import { Button, Group, Modal } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Problem } from "./Problem";

interface Props<T> {
  title: string;
  /** What the button says. */
  action: string;
  run: () => Promise<T>;
  onDone?: (done: T) => void;
  onClose: () => void;
  children: ReactNode;
}

/** Says what will happen, and does it when asked to; a refusal is shown and the dialog stays. */
export function Confirm<T>({ title, action, run, onDone, onClose, children }: Props<T>) {
  const doing = useMutation({
    mutationFn: run,
    onSuccess: (done) => {
      onClose();
      onDone?.(done);
    },
  });
  return (
    <Modal opened onClose={onClose} title={title} closeButtonProps={{ "aria-label": "Close" }}>
      <p className="muted" style={{ marginTop: 0 }}>
        {children}
      </p>
      <Problem error={doing.error} />
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button color="brick" data-autofocus loading={doing.isPending} onClick={() => doing.mutate()}>
          {action}
        </Button>
      </Group>
    </Modal>
  );
}
