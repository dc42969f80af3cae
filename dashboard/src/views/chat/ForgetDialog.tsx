import type { Turn } from "../../api/types";
import { revert } from "../../api/sessionVerbs";
import { Confirm } from "../../ui/Confirm";

/** Asks before a turn is left out. */
export function ForgetDialog({ sessionId, turn, onClose }: { sessionId: string; turn: Turn; onClose: () => void }) {
  return (
    <Confirm title={`Forget turn ${turn.turn}?`} action="Forget" run={() => revert({ kind: "text", id: sessionId }, String(turn.turn))} onClose={onClose}>
      The session gets the state of one that never saw this turn: the turns after it are read and judged again, and their replies drawn anew with their own seeds.
      It takes about as long as they took. The turn stays in the log, and can be taken up again.
    </Confirm>
  );
}
