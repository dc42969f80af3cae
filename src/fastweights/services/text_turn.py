"""One turn of a text session as a function of the session's value: learn from the message, answer. Stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastweights.guard.event import Event
from fastweights.services.records import Sampling
from fastweights.services.session_parts import Answer, Parts

if TYPE_CHECKING:
    from fastweights.guard.state import Session

OnEvent = Callable[[str, Any], None]
_LOOK_BACK = 80  # characters


@dataclass(frozen=True, eq=False)
class Reader:
    """The moving parts of a session and its value at a commit. ``first``: nothing was said before."""

    parts: Parts
    value: Session
    first: bool

    def read(self, message: str, *, learn: bool, on_event: OnEvent | None = None) -> tuple[Session, list[Event], int]:
        """The session after the message, one event a chunk, and how many tokens it has; without ``learn`` only the
        reader advances."""
        from fastweights.core.chunks import next_token_chunks
        from fastweights.guard.stream import read

        tokenizer = self.parts.loaded.tokenizer
        session = _next_message(self.value)
        last = int(session.fast.carry["last_B"][0])
        ids = tokenizer.encode(_as_paragraph(message, after=tokenizer.decode_bytes([last]), first=self.first))
        chunks = next_token_chunks(last, ids, self.parts.chunk_tokens)
        events: list[Event] = []
        if not learn:
            fast = session.fast
            for chunk in chunks:
                fast = self.parts.skim(fast, chunk)
            return replace(session, fast=fast), events, len(ids)
        named = (chunk._replace(text=tokenizer.decode(chunk.targets_BT[0].tolist())) for chunk in chunks)
        for outcome in read(self.parts.guard, self.parts.learner, session, named):
            session = outcome.session
            events.append(outcome.event)
            if on_event is not None:
                on_event("chunk", outcome.event)
        return session, events, len(ids)

    def answer(
        self,
        session: Session,
        sampling: Sampling,
        *,
        adapted: bool,
        kind: str = "token",
        on_event: OnEvent | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        """The answer of a session that has read the message; without ``adapted`` the frozen model's.

        ``on_event`` gets its text as events of ``kind``, and what the guard judged meanwhile as ``"chunk"``.
        """
        if on_event is None:
            return self.parts.answer(session, sampling, adapted=adapted, cancelled=cancelled)
        return self.parts.answer(
            session,
            sampling,
            adapted=adapted,
            on_text=lambda text: on_event(kind, text),
            on_chunk=lambda event: on_event("chunk", event),
            cancelled=cancelled,
        )


def snapshot(session: Session) -> bytes:
    """The bytes of the session's state (its guard's histories are JSON beside it)."""
    from fastweights.core.state import to_tensors
    from fastweights.store.tensors import dumps

    return dumps(to_tensors(session.fast))


def restore(state: bytes, guard: dict[str, Any], parts: Parts, what: str) -> Session:
    """The session whose snapshot this is; ``Corrupt`` or ValueError (it belongs to other parts) name the tensor."""
    from fastweights.core.state import from_tensors
    from fastweights.guard.state import GuardState, Session
    from fastweights.store.tensors import loads

    tensors, _ = loads(state, what=what)
    return Session(from_tensors(tensors, parts.learner.init()), GuardState.from_json(guard))


def until(tokens: int) -> Callable[[], bool]:
    """A ``cancelled`` that ends a reply after so many tokens."""
    left = [tokens]

    def cancelled() -> bool:
        left[0] -= 1
        return left[0] < 0

    return cancelled


def _as_paragraph(message: str, *, after: bytes, first: bool) -> str:
    """Each message is a paragraph: a line break before it (unless the text so far ends in one) and after it."""
    before = "" if first or after.endswith(b"\n") else "\n"
    return before + message + ("" if message.endswith("\n") else "\n")


def _next_message(session: Session) -> Session:
    """A message looks back a little way into the one before (a phrase may be split), not far enough to be called a
    repetition of it: people do say things twice."""
    return replace(session, guard=replace(session.guard, tail=session.guard.tail[-_LOOK_BACK:]))
