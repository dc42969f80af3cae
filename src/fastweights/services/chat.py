"""Sessions: a model whose fast weights learn from each message, through the guard, before it answers.

The value of a session (fast weights, rule state, carry, guard histories) is read from its head commit and written as
the next one; nothing is kept in memory between turns, so a restart, a fork and a crash all see the same session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastweights.errors import Conflict, FastweightsError
from fastweights.services import session_info, text_turn
from fastweights.services.generate import ModelPool, check_text
from fastweights.services.records import Sampling, SessionDetail, SessionInfo, SessionOptions, Turn
from fastweights.services.session_parts import Parts, PartsCache
from fastweights.services.text_turn import OnEvent, Reader
from fastweights.services.trained_length import past_length
from fastweights.services.update_rules import natural_chunk, refuse_unused
from fastweights.services.verbs.environment import environment
from fastweights.services.verbs.revert import RevertService
from fastweights.services.verbs.verify import Made
from fastweights.store.commits import Commit, Lived, fresh_rule
from fastweights.store.meta import Meta
from fastweights.store.root import Store, now
from fastweights.store.sessions import Sessions

if TYPE_CHECKING:
    from fastweights.guard.state import Session

_TITLE_CHARACTERS = 60
_REMEDY = "fastweights session reset {} starts afresh; fastweights eval ppl --reset-every {{}} shows what that is worth"


@dataclass(frozen=True, eq=False)
class OpenSession:
    """A session of the store, its moving parts, and its value at a commit (the head, unless another was asked for)."""

    meta: Meta
    head: Commit
    parts: Parts
    value: Session

    @property
    def reader(self) -> Reader:
        return Reader(self.parts, self.value)


class ChatService(RevertService[SessionInfo]):
    """Text sessions of a store, and the verbs on them."""

    def __init__(self, store: Store, device: str | None = None, pool: ModelPool | None = None) -> None:
        self.sessions = Sessions(store, "text")
        self.pool = pool or ModelPool(store, device)
        self._parts = PartsCache(self.pool)

    # ------------------------------------------------------------------ look

    def list(self) -> list[SessionInfo]:
        """Every session, last used first."""
        return [info for meta in self.sessions.list() if (info := session_info.readable(meta)) is not None]

    def show(self, session_id: str) -> SessionDetail:
        """One session with the turns that its state has seen, oldest first, and those that were taken back."""
        meta = self.sessions.meta(session_id)
        lived = [one for one in self.sessions.commits.lived(meta.head) if one.commit.kind == "turn"]
        turns = [session_info.turn(one.commit, one) for one in lived if not one.frozen]
        back = [session_info.turn(one.commit, one) for one in lived if one.frozen]
        return SessionDetail(**session_info.info(meta).model_dump(), turns=turns, reverted=back)

    # ------------------------------------------------------------------ change

    def new(self, options: SessionOptions, session_id: str | None = None, *, spfw: bool | None = None) -> SessionInfo:
        """A session that has read nothing. The model is pinned by the SHA-256 of its weights.

        Without a policy it gets the one that ships for its model; ``spfw`` enforces or switches off SPFW in it. Without
        ``chunk_tokens`` a TTT-E2E model has the chunk that it was trained with.
        """
        model = self.pool.models.resolve(options.model)
        if "chunk_tokens" not in options.model_fields_set and (own := natural_chunk(self.pool.models, model)):
            options = options.model_copy(update={"chunk_tokens": own})
        options = options.for_model(model, spfw)
        refuse_unused(options)
        parts = self._parts.get(options)
        made = _begin(parts)
        meta = self.sessions.create(
            session_id,
            model=parts.loaded.model_id,
            options=options.model_dump(),
            state=made.state,
            guard=made.guard,
            record={**made.outputs, "drift": 0.0, "replay": {"environment": _here(parts)}},
        )
        return session_info.info(meta)

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
            reader = at.reader
            session, events, prompt_tokens = reader.read(message, learn=not frozen, on_event=on_event)
            other = None
            if compare and not frozen:
                other = reader.answer(
                    session, sampling, adapted=False, kind="frozen_token", on_event=on_event, cancelled=cancelled
                ).reply
            answer = reader.answer(session, sampling, adapted=not frozen, on_event=on_event, cancelled=cancelled)
            reply, events = answer.reply, [*events, *answer.events]
            record = {
                "prompt": message,
                "reply": reply.text,
                "frozen_reply": None if other is None else other.text,
                "sampling": sampling.model_dump(),
                "learned": not frozen,
                "stopped": reply.stopped,
                "prompt_tokens": prompt_tokens,
                "reply_tokens": reply.tokens,
                "events": [event.model_dump() for event in events],
                "drift": events[-1].drift if events else at.head.record.get("drift"),
                "seconds": time.monotonic() - started,
            }
            if not frozen:
                before, after = _tokens_read(at.value), _tokens_read(answer.session)
                record["warning"] = past_length(at.parts.loaded, before, after, _REMEDY.format(session_id))
            if frozen:
                return session_info.turn(replace(at.head, turn=at.head.turn + 1, record=record, created_at=now()))
            value = answer.session
            commit = self.sessions.commit(
                at.meta.id,
                parent=at.head.id,
                state=text_turn.snapshot(value),
                guard=value.guard.to_json(),
                record={**record, "replay": {"reply_ids": reply.ids, "environment": _here(at.parts)}},
                title=" ".join(message.split())[:_TITLE_CHARACTERS],
            )
            return session_info.turn(commit)

    # ------------------------------------------------------------------ what the verbs ask of a kind

    def info(self, meta: Meta) -> SessionInfo:
        return session_info.info(meta)

    def summary(self, commit: Commit) -> str:
        return " ".join(commit.record["prompt"].split())[:_TITLE_CHARACTERS]

    def device(self) -> str:
        from fastweights.models.device import pick_device, set_threads

        set_threads()
        return str(pick_device(self.pool.device))

    def initial(self, meta: Meta, root: Commit) -> Made:
        made = _begin(self.pinned_parts(meta))
        if not isinstance(said := root.record.get("session"), dict):
            return made
        own = {**said, "model": meta.model, "options": meta.options}
        return replace(made, outputs={**made.outputs, "session": own})

    def replay(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        """Reads the message again, draws the reply again, and compares both with what was recorded."""
        at = self.open_session(meta.id, parent)
        value, said = text_turn.again(at.parts, at.value, commit.record)
        return Made(text_turn.snapshot(value), value.guard.to_json(), said)

    def relive(self, meta: Meta, start: Commit, rest: Sequence[Lived]) -> Made:
        """The same messages with the same seeds, as if those taken back had never been sent; the replies are drawn
        anew. ``retold`` has what each turn says now."""
        made = Made(self.sessions.state(start), start.guard, {"drift": start.record.get("drift")})
        events, retold = [], []
        for commit, made in self.lives(meta, start, rest):
            if commit.kind == "turn":
                said = dict(made.outputs)
                own = said.pop("events")
                events += own
                retold.append({"commit": commit.id, **said, "frozen_reply": None, "events": len(own)})
        return replace(made, outputs={"drift": made.outputs["drift"], "events": events, "retold": retold})

    def lives(self, meta: Meta, start: Commit, rest: Iterable[Lived]) -> Iterator[tuple[Commit, Made]]:
        """Each turn or fork of ``rest`` and what it makes, from ``start`` on; those taken back are left out.

        A state goes through its snapshot between two turns, as between two that are sent.
        """
        parts = self.pinned_parts(meta)
        state, guard, drift = self.sessions.state(start), start.guard, start.record.get("drift")
        for commit, frozen, *_ in rest:
            if frozen:
                continue
            if commit.kind == "fork":
                state, said = fresh_rule(state, self.sessions.state(self.sessions.read(meta.root))), {"drift": drift}
            else:
                value = text_turn.restore(state, guard, parts, f"state before turn {commit.turn}")
                value, said = text_turn.again(parts, value, commit.record)
                state, guard, drift = text_turn.snapshot(value), value.guard.to_json(), said["drift"]
            yield commit, Made(state, guard, said)

    # ------------------------------------------------------------------ opening

    def open_session(self, session_id: str, at: Commit | None = None) -> OpenSession:
        """A session at a commit (None: its head). ``Conflict`` if its model has other weights than when it began."""
        meta = self.sessions.meta(session_id)
        commit = at or self.sessions.read(meta.head)
        parts = self.pinned_parts(meta)
        try:
            state = self.sessions.state(commit)
            value = text_turn.restore(state, commit.guard, parts, f"state of session {session_id!r}")
        except FastweightsError:
            raise
        except ValueError as error:
            raise FastweightsError(f"session {session_id!r}: {error}") from None
        return OpenSession(meta, commit, parts, value)

    def pinned_parts(self, meta: Meta) -> Parts:
        """What a session learns with. ``Conflict`` as :meth:`open_session`."""
        parts = self._parts.get(session_info.options(meta))
        pinned = self.sessions.read(meta.root).record.get("model_sha256")
        if pinned != parts.loaded.checkpoint_sha256:
            raise Conflict(
                f"model {meta.model!r} has other weights now than when session {meta.id!r} began: "
                "restore them, or start a new session"
            )
        return parts


def _begin(parts: Parts) -> Made:
    """The state of a session that has read nothing."""
    session = parts.guard.begin(parts.learner, parts.learner.init())
    outputs = {"model_sha256": parts.loaded.checkpoint_sha256}
    return Made(text_turn.snapshot(session), session.guard.to_json(), outputs)


def _tokens_read(session: Session) -> int:
    """By a TTT model; 0 where a reader does not count them."""
    carry = session.fast.carry.get("lm")
    return int(carry["position"][0]) if isinstance(carry, dict) and "position" in carry else 0


def _here(parts: Parts) -> dict[str, Any]:
    """Where this is computed, for a record."""
    return environment(parts.loaded.lm.head.weight.device).model_dump()
