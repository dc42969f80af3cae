import { Button, Group, Modal } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { api, take } from "../../api/client";
import { queryClient, session, sessions } from "../../api/queries";
import { Problem } from "../../ui/Problem";

export function ResetDialog({ sessionId, onClose }: { sessionId: string; onClose: () => void }) {
  const reset = useMutation({
    mutationFn: () => take(api.POST("/api/text/sessions/{session_id}/reset", { params: { path: { session_id: sessionId } } })),
    onSuccess: () => {
      void queryClient.invalidateQueries({ queryKey: session(sessionId).queryKey });
      void queryClient.invalidateQueries({ queryKey: sessions.queryKey });
      onClose();
    },
  });
  return (
    <Modal opened onClose={onClose} title="Reset the fast weights?" closeButtonProps={{ "aria-label": "Close" }}>
      <p className="muted" style={{ marginTop: 0 }}>
        The session forgets what it learned and read: fast weights, momentum and reading state go back to the start. Its history
        is kept, so you can still fork from any earlier turn.
      </p>
      <Problem error={reset.error} />
      <Group justify="flex-end" mt="md">
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
        <Button color="brick" data-autofocus loading={reset.isPending} onClick={() => reset.mutate()}>
          Reset
        </Button>
      </Group>
    </Modal>
  );
}
