"""One turn of a text session as a function of the session's value: learn from the message, answer. Stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastweights.guard.event import Event
from fastweights.services.records import Sampling
from fastweights.services.session_parts import Answer, Parts
from fastweights.services.verbs.verify import CannotReplay

if TYPE_CHECKING:
    from fastweights.data.tokenizer import Tokenizer
    from fastweights.guard.state import Session

OnEvent = Callable[[str, Any], None]
_LOOK_BACK = 80  # characters


@dataclass(frozen=True, eq=False)
class Reader:
    """The moving parts of a session and its value at a commit."""

    parts: Parts
    value: Session

    def read(self, message: str, *, learn: bool, on_event: OnEvent | None = None) -> tuple[Session, list[Event], int]:
        """The session after the message, one event a chunk, and how many tokens it has; without ``learn`` only the
        reader advances."""
        from fastweights.core.chunks import next_token_chunks
        from fastweights.guard.stream import read

        tokenizer = self.parts.loaded.tokenizer
        session = _next_message(self.value)
        last = int(session.fast.carry["last_B"][0])
        ids = message_ids(tokenizer, message, last, first=session.guard.chunks == 0)
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


def again(parts: Parts, session: Session, record: Mapping[str, Any]) -> tuple[Session, dict[str, Any]]:
    """A recorded turn once more: its message read from ``session`` on, its reply drawn with the same seed.

    Returns the session after it and what the turn's record says now. A reply that was cancelled ends after as many
    tokens as it had then. Raises :class:`CannotReplay` where that was not recorded.
    """
    kept = record.get("replay")
    if not isinstance(kept, dict) or not isinstance(kept.get("reply_ids"), list):
        raise CannotReplay("recorded before replies kept their tokens")
    reader = Reader(parts, session)
    session, events, prompt_tokens = reader.read(record["prompt"], learn=True)
    stop = until(len(kept["reply_ids"])) if record["stopped"] == "cancelled" else None
    sampling = Sampling.model_validate(record["sampling"])
    answer = reader.answer(session, sampling, adapted=True, cancelled=stop)
    events = [*events, *answer.events]
    return answer.session, {
        "prompt_tokens": prompt_tokens,
        "events": [event.model_dump() for event in events],
        "drift": events[-1].drift if events else record.get("drift"),
        "reply": answer.reply.text,
        "reply_tokens": answer.reply.tokens,
        "stopped": answer.reply.stopped,
        "replay": {**kept, "reply_ids": answer.reply.ids},
    }


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


def message_ids(tokenizer: Tokenizer, message: str, last: int, *, first: bool) -> list[int]:
    """What a session reads of a message after token ``last``; ``first``: nothing was said before."""
    return tokenizer.encode(_as_paragraph(message, after=tokenizer.decode_bytes([last]), first=first))


def _as_paragraph(message: str, *, after: bytes, first: bool) -> str:
    """Each message is a paragraph: a line break before it (unless the text so far ends in one) and after it."""
    before = "" if first or after.endswith(b"\n") else "\n"
    return before + message + ("" if message.endswith("\n") else "\n")


def _next_message(session: Session) -> Session:
    """A message looks back a little way into the one before (a phrase may be split), not far enough to be called a
    repetition of it: people do say things twice."""
    return replace(session, guard=replace(session.guard, tail=session.guard.tail[-_LOOK_BACK:]))
