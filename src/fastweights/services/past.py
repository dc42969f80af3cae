"""The states that a text session's head has gone through, and what a text costs under each. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services import text_turn
from fastweights.services.chat import ChatService
from fastweights.services.past_records import MAX_PROBE
from fastweights.services.session_parts import Parts
from fastweights.store.commits import Commit, Lived
from fastweights.store.meta import Meta

if TYPE_CHECKING:
    from fastweights.guard.state import Session

Figure = Callable[["Session"], float | None]


@dataclass(frozen=True, eq=False)
class Past:
    """A head and the turns that its state has seen. State 0 is the initial one, state N that after ``turns[N - 1]``."""

    chats: ChatService
    meta: Meta
    head: Commit
    parts: Parts
    kept: list[Lived]  # turns, and forks in which the rule forgot its momentum

    @staticmethod
    def of(chats: ChatService, session_id: str) -> Past:
        meta = chats.sessions.meta(session_id)
        head = chats.sessions.read(meta.head)
        kept = [one for one in chats.sessions.commits.lived(head.id) if not one.frozen]
        return Past(chats, meta, head, chats.pinned_parts(meta), kept)

    @cached_property
    def turns(self) -> list[Lived]:
        return [one for one in self.kept if one.commit.kind == "turn"]

    @cached_property
    def root(self) -> Commit:
        return self.chats.sessions.read(self.meta.root)

    def commit(self, at: int) -> Commit:
        """The commit of state ``at``: the turn's, whether the state is the one that it stored or not."""
        return self.turns[at - 1].commit if at else self.root

    def stored(self, at: int) -> bool:
        """Whether a commit holds state ``at``."""
        return at == 0 or self.turns[at - 1].stored or at == len(self.turns)

    def value(self, at: int) -> Session:
        """State ``at``, where a commit holds it."""
        commit = self.commit(at) if at == 0 or self.turns[at - 1].stored else self.head
        return self.restore(self.chats.sessions.state(commit), commit.guard, f"state of commit {commit.id}")

    def retold(self) -> Iterator[tuple[int, Session]]:
        """The states that no commit holds, since a revert replayed their turns: made again."""
        here = [not one.stored for one in self.kept]
        if not any(here):
            return
        first, last = here.index(True), len(here) - here[::-1].index(True)
        start = self.kept[first - 1].commit if first else self.root
        at = sum(one.commit.kind == "turn" for one in self.kept[:first])
        for commit, made in self.chats.lives(self.meta, start, self.kept[first:last]):
            if commit.kind == "turn":
                at += 1
                yield at, self.restore(made.state, dict(made.guard), f"state after turn {commit.turn}")

    def restore(self, state: bytes, guard: dict[str, Any], what: str) -> Session:
        return text_turn.restore(state, guard, self.parts, what)

    def summary(self, at: int) -> str:
        return self.chats.summary(self.commit(at))


class Figures:
    """A figure of each state, computed when it is first asked for."""

    def __init__(self, past: Past, figure: Figure) -> None:
        self._past, self._figure = past, figure
        self._known: dict[int, float | None] = {}

    def __getitem__(self, at: int) -> float | None:
        if at not in self._known and self._past.stored(at):
            self._known[at] = self._figure(self._past.value(at))
        elif at not in self._known:
            self._known |= {n: self._figure(value) for n, value in self._past.retold()}
        return self._known[at]

    def __len__(self) -> int:
        return len(self._past.turns) + 1


class Probed:
    """A probe as tokens, read from the start (as a canary is), so that only what the fast weights hold counts.

    Called with a state it gives the loss in nats per token: of the answer after the probe, or of the whole probe.
    """

    def __init__(self, parts: Parts, probe: str, answer: str | None = None) -> None:
        import torch

        from fastweights.core.chunks import next_token_chunks

        tokenizer = parts.loaded.tokenizer
        first = tokenizer.encode(_checked("probe", probe))
        ids = [*first, *([] if answer is None else tokenizer.encode(_checked("answer", answer)))]
        skipped = 0 if answer is None else len(first)
        self.tokens = len(ids) - skipped
        if not self.tokens:
            raise FastweightsError("the text to be scored has no token: write something else")
        (chunk,) = next_token_chunks(tokenizer.bos_id, ids, len(ids))
        self.parts, self._start = parts, parts.learner.init()
        self._plain = chunk._replace(mask_BT=torch.arange(len(ids))[None] >= skipped)
        self._chunk = parts.learner.prepare(self._plain, self._start.carry)

    def __call__(self, value: Session) -> float | None:
        from fastweights.core.numerics import finite_or_none

        state = replace(self._start, weights=value.fast.weights)
        return finite_or_none(float(self.parts.learner.score(state, self._chunk)))

    def frozen(self) -> float | None:
        """The same of the model without any fast weight."""
        from fastweights.core.numerics import finite_or_none

        return finite_or_none(self.parts.read_frozen(self._start.carry, self._plain)[0])


def _checked(field: str, text: str) -> str:
    """The text; an error names the field if it is empty, too long, or no Unicode."""
    if not text:
        raise FastweightsError(f"{field} is empty: write something")
    if len(text) > MAX_PROBE:
        raise FastweightsError(f"{field} has {len(text)} characters: give at most {MAX_PROBE}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FastweightsError(f"{field} has a lone surrogate at character {error.start}: send valid Unicode") from None
    return text
