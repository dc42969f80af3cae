import { reset } from "../../api/sessionVerbs";
import { Confirm } from "../../ui/Confirm";

export function ResetDialog({ sessionId, onClose }: { sessionId: string; onClose: () => void }) {
  return (
    <Confirm title="Reset the fast weights?" action="Reset" run={() => reset({ kind: "text", id: sessionId })} onClose={onClose}>
      The session forgets what it learned and read: fast weights, momentum and reading state go back to the start. Its history is
      kept, so you can still fork from any earlier turn.
    </Confirm>
  );
}
