"""Sessions: a model whose fast weights learn from each message, through the guard, before it answers.

The value of a session (fast weights, rule state, carry, guard histories) is read from its head commit and written as
the next one; nothing is kept in memory between turns, so a restart, a fork and a crash all see the same session.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fastweights.errors import Conflict, Corrupt, FastweightsError
from fastweights.guard.event import Event
from fastweights.hints import describe
from fastweights.services.generate import ModelPool, Reply, check_text
from fastweights.services.records import CommitInfo, Sampling, SessionDetail, SessionInfo, SessionOptions, Turn
from fastweights.services.session_parts import Parts, PartsCache
from fastweights.store.root import Store, now
from fastweights.store.sessions import Commit, Meta, Sessions

if TYPE_CHECKING:
    from fastweights.guard.state import Session

OnEvent = Callable[[str, Any], None]
_TITLE_CHARACTERS = 60
_LOOK_BACK = 80  # characters


@dataclass(frozen=True, eq=False)
class OpenSession:
    """A session of the store, its moving parts, and its value at the head."""

    meta: Meta
    head: Commit
    parts: Parts
    value: Session


class ChatService:
    """Text sessions of a store."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.sessions = Sessions(store, "text")
        self.pool = pool or ModelPool(store, device)
        self._parts = PartsCache(self.pool)

    # ------------------------------------------------------------------ look

    def list(self) -> list[SessionInfo]:
        """Every session, last used first."""
        return [info for meta in self.sessions.list() if (info := _readable(meta)) is not None]

    def show(self, session_id: str) -> SessionDetail:
        """One session with its turns since the last reset, oldest first."""
        meta = self.sessions.meta(session_id)
        turns: list[Turn] = []
        for commit in self.sessions.history(meta.head):
            if commit.kind != "turn":
                break
            turns.append(_turn(commit))
        return SessionDetail(**_info(meta).model_dump(), turns=turns[::-1])

    def log(self, session_id: str) -> list[CommitInfo]:
        """Every commit from the head back to the initial state."""
        return [_commit_info(commit) for commit in self.sessions.log(session_id)]

    # ------------------------------------------------------------------ change

    def new(self, options: SessionOptions, session_id: str | None = None) -> SessionInfo:
        """A session that has read nothing. The model is pinned by the SHA-256 of its weights."""
        from fastweights.core.state import to_tensors
        from fastweights.store.tensors import dumps

        options = options.model_copy(update={"model": self.pool.models.resolve(options.model)})
        parts = self._parts.get(options)
        session = parts.guard.begin(parts.learner, parts.learner.init())
        meta = self.sessions.create(
            session_id,
            model=parts.loaded.model_id,
            options=options.model_dump(),
            state=dumps(to_tensors(session.fast)),
            guard=session.guard.to_json(),
            record={"model_sha256": parts.loaded.checkpoint_sha256, "drift": 0.0},
        )
        return _info(meta)

    def send(
        self,
        session_id: str,
        message: str,
        sampling: Sampling,
        *,
        frozen: bool = False,
        compare: bool = False,
        on_event: OnEvent | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Turn:
        """Learn from ``message`` chunk by chunk through the guard, answer, commit; the turn returned is durable.

        ``frozen`` answers the same prompt and seed from the session's place in the text without any fast weight, and
        stores nothing. ``compare`` adds that answer to the turn. ``on_event`` gets ``("chunk", Event)``, ``("token",
        str)`` and ``("frozen_token", str)`` as they happen. Once ``cancelled`` is true the reply ends; what was
        learned and said until then is committed.
        """
        check_text("message", message)
        started = time.monotonic()
        with self.sessions.lock(session_id, "answering a message"):
            at = self.open_session(session_id)
            session, events, prompt_tokens = self._read(at, message, learn=not frozen, on_event=on_event)
            frozen_reply = None
            if frozen or compare:
                kind = "token" if frozen else "frozen_token"
                frozen_reply = self._answer(at, session, sampling, False, _tell(on_event, kind), cancelled)
            if frozen:
                assert frozen_reply is not None
                reply = frozen_reply
            else:
                reply = self._answer(at, session, sampling, True, _tell(on_event, "token"), cancelled)
            record = {
                "prompt": message,
                "reply": reply.text,
                "frozen_reply": frozen_reply.text if frozen_reply is not None and not frozen else None,
                "sampling": sampling.model_dump(),
                "learned": not frozen,
                "stopped": reply.stopped,
                "prompt_tokens": prompt_tokens,
                "reply_tokens": reply.tokens,
                "events": [event.model_dump() for event in events],
                "drift": events[-1].drift if events else at.head.record.get("drift"),
                "seconds": time.monotonic() - started,
            }
            if frozen:
                return _turn(replace(at.head, turn=at.head.turn + 1, record=record, created_at=now()))
            return _turn(self._commit(at, session, reply, record, title=message))

    def reset(self, session_id: str) -> SessionInfo:
        """Back to the initial state, as a new commit: the history stays."""
        with self.sessions.lock(session_id, "resetting"):
            meta = self.sessions.meta(session_id)
            root = self.sessions.read(meta.root)
            self.sessions.commit(
                session_id,
                parent=meta.head,
                kind="reset",
                state=self.sessions.state(root),
                guard=root.guard,
                record={"drift": root.record.get("drift")},
            )
            return _info(self.sessions.meta(session_id))

    def fork(self, session_id: str, name: str | None = None, at: str | None = None) -> SessionInfo:
        """A new session at the head, or at commit ``at``; drift goes on counting from the same origin."""
        return _info(self.sessions.fork(session_id, name, at))

    # ------------------------------------------------------------------ inside a turn

    def _read(
        self, at: OpenSession, message: str, *, learn: bool, on_event: OnEvent | None
    ) -> tuple[Session, list[Event], int]:
        """The session after the prompt, one event a chunk; without ``learn`` only the reader advances."""
        from fastweights.core.chunks import next_token_chunks
        from fastweights.guard.stream import read

        tokenizer = at.parts.loaded.tokenizer
        session = _next_message(at.value)
        last = int(session.fast.carry["last_B"][0])
        ids = tokenizer.encode(_as_paragraph(message, after=tokenizer.decode_bytes([last]), first=at.head.turn == 0))
        chunks = next_token_chunks(last, ids, at.parts.chunk_tokens)
        events: list[Event] = []
        if not learn:
            carry = session.fast.carry
            for chunk in chunks:
                carry = at.parts.learner.prepare(chunk, carry).inputs["features"]["carry"]
            return replace(session, fast=replace(session.fast, carry=carry)), events, len(ids)
        named = (chunk._replace(text=tokenizer.decode(chunk.targets_BT[0].tolist())) for chunk in chunks)
        for outcome in read(at.parts.guard, at.parts.learner, session, named):
            session = outcome.session
            events.append(outcome.event)
            if on_event is not None:
                on_event("chunk", outcome.event)
        return session, events, len(ids)

    def _answer(
        self,
        at: OpenSession,
        session: Session,
        sampling: Sampling,
        adapted: bool,
        on_text: Callable[[str], None] | None,
        cancelled: Callable[[], bool] | None,
    ) -> Reply:
        carry = session.fast.carry
        memory = (at.parts.model.memory, session.fast.weights) if adapted else None
        return at.parts.open_model.reply(
            carry["lm"], int(carry["last_B"][0]), sampling, memory=memory, on_text=on_text, cancelled=cancelled
        )

    def _commit(self, at: OpenSession, session: Session, reply: Reply, record: dict[str, Any], title: str) -> Commit:
        import torch

        from fastweights.core.state import to_tensors
        from fastweights.store.tensors import dumps

        carry = {"lm": reply.carry, "last_B": torch.tensor([reply.last])}
        return self.sessions.commit(
            at.meta.id,
            parent=at.head.id,
            state=dumps(to_tensors(replace(session.fast, carry=carry))),
            guard=session.guard.to_json(),
            record=record,
            title=" ".join(title.split())[:_TITLE_CHARACTERS],
        )

    # ------------------------------------------------------------------ opening

    def open_session(self, session_id: str) -> OpenSession:
        from fastweights.core.state import from_tensors
        from fastweights.guard.state import GuardState, Session
        from fastweights.store.tensors import loads

        meta = self.sessions.meta(session_id)
        head = self.sessions.read(meta.head)
        options = _options(meta)
        parts = self._parts.get(options)
        pinned = self.sessions.read(meta.root).record.get("model_sha256")
        if pinned != parts.loaded.checkpoint_sha256:
            raise Conflict(
                f"model {meta.model!r} has other weights now than when session {session_id!r} began: "
                "restore them, or start a new session"
            )
        tensors, _ = loads(self.sessions.state(head), what=f"state of session {session_id!r}")
        try:
            fast = from_tensors(tensors, parts.learner.init())
        except ValueError as error:
            raise FastweightsError(f"session {session_id!r}: {error}") from None
        return OpenSession(meta, head, parts, Session(fast, GuardState.from_json(head.guard)))


# ---------------------------------------------------------------------- records


def _as_paragraph(message: str, *, after: bytes, first: bool) -> str:
    """Each message is a paragraph: a line break before it (unless the text so far ends in one) and after it."""
    before = "" if first or after.endswith(b"\n") else "\n"
    return before + message + ("" if message.endswith("\n") else "\n")


def _next_message(session: Session) -> Session:
    """A message looks back a little way into the one before (a phrase may be split), not far enough to be called a
    repetition of it: people do say things twice."""
    return replace(session, guard=replace(session.guard, tail=session.guard.tail[-_LOOK_BACK:]))


def _tell(on_event: OnEvent | None, kind: str) -> Callable[[str], None] | None:
    return None if on_event is None else lambda text: on_event(kind, text)


def _readable(meta: Meta) -> SessionInfo | None:
    """None for a session whose options this version cannot read: one odd record must not hide the others."""
    try:
        return _info(meta)
    except FastweightsError:
        return None


def _options(meta: Meta) -> SessionOptions:
    try:
        return SessionOptions.model_validate(meta.options)
    except ValidationError as error:
        raise Corrupt(f"session {meta.id!r} has options that cannot be read: {describe(error)}") from None


def _info(meta: Meta) -> SessionInfo:
    return SessionInfo(
        session_id=meta.id,
        model=meta.model,
        options=_options(meta),
        head=meta.head,
        n_turns=meta.turns,
        title=meta.title,
        parent_session=meta.parent_session,
        forked_from=meta.forked_from,
        created_at=meta.created_at,
        updated_at=meta.updated_at,
        state_bytes=meta.state_bytes,
        drift=meta.drift,
    )


def _turn(commit: Commit) -> Turn:
    return Turn.model_validate(
        {**commit.record, "turn": commit.turn, "commit": commit.id, "created_at": commit.created_at}
    )


def _commit_info(commit: Commit) -> CommitInfo:
    decisions = [event["decision"] for event in commit.record.get("events", [])]
    summary = {"init": "initial state", "reset": "reset to the initial state"}.get(commit.kind)
    return CommitInfo(
        commit=commit.id,
        parent=commit.parent,
        kind=commit.kind,
        turn=commit.turn,
        summary=summary or " ".join(commit.record["prompt"].split())[:_TITLE_CHARACTERS],
        committed=decisions.count("committed"),
        blocked=decisions.count("blocked"),
        rolled_back=decisions.count("rolled_back"),
        drift=commit.record.get("drift"),
        created_at=commit.created_at,
    )
