"""Guards that let no write pass."""

from dataclasses import dataclass

from fastweights.guard.evidence import Evidence, Stage, Verdict
from fastweights.guard.mode import Mode
from fastweights.services.chat import ChatService


@dataclass(frozen=True)
class Never:
    """A check that no write passes."""

    name: str = "never"
    stage: Stage = "candidate"
    mode: Mode = "enforce"

    def __call__(self, evidence: Evidence) -> Verdict:
        return Verdict(False, ("never",))


def refuse_all(chats: ChatService) -> None:
    """From now on no session that the service has opened may learn."""
    for parts in chats._parts._built.values():
        parts.guard.checks += (Never(),)
