"""Git's verbs on weights, once for every kind of session: log, fork, tag, diff, checkout, reset, verify.

A kind of session derives from :class:`SessionService` and says three things: how its initial state is made, how a
commit is replayed from what it recorded, and what a session and a commit look like to a user. The rest is here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

from fastweights.services.verbs import diff as changes
from fastweights.services.verbs.records import (
    CommitInfo,
    SessionDiff,
    TagInfo,
    Verification,
    VerifiedCommit,
)
from fastweights.services.verbs.verify import CannotReplay, Made, verify
from fastweights.store.commits import Commit
from fastweights.store.meta import Meta
from fastweights.store.refs import SHORT
from fastweights.store.sessions import Sessions

Info = TypeVar("Info")


class SessionService(ABC, Generic[Info]):
    """The sessions of one kind and their verbs. Every ``ref`` is a name as ``store.refs.resolve`` takes it."""

    sessions: Sessions

    # ------------------------------------------------------------------ what a kind says

    @abstractmethod
    def info(self, meta: Meta) -> Info:
        """A session as a row of a listing."""

    @abstractmethod
    def summary(self, commit: Commit) -> str:
        """A turn or run in a few words."""

    @abstractmethod
    def initial(self, meta: Meta, root: Commit) -> Made:
        """The initial state made again, from what ``root`` (the initial commit) recorded."""

    @abstractmethod
    def replay(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        """A ``turn`` or ``run`` computed again from ``parent``'s state and the inputs that ``commit`` recorded.

        Raises :class:`fastweights.services.verbs.verify.CannotReplay` where they were not recorded.
        """

    def reverted(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        """A ``revert`` computed again; :class:`fastweights.services.verbs.revert.RevertService` says how."""
        raise CannotReplay(f"sessions of kind {meta.kind!r} have no reverts")

    @abstractmethod
    def device(self) -> str:
        """The device that replays run on."""

    def numbers(self, commit: Commit) -> dict[str, float | None]:
        """Figures of a commit that a diff compares: the guard's, and the writes so far. A kind may add its own."""
        origin, current = commit.guard.get("origin") or {}, commit.guard.get("current") or {}
        canaries = {f"canary {name}": current[name] for name in current}
        rises = {f"drift {name}": current[name] - origin[name] for name in current if name in origin}
        plain = {n: v for n, v in commit.guard.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        writes = changes.scalar(self.sessions.state(commit), "step")
        return {"drift": commit.record.get("drift"), **plain, "writes": writes, **canaries, **rises}

    # ------------------------------------------------------------------ the verbs

    def log(self, session_id: str, *, everything: bool = False) -> list[CommitInfo]:
        """Commits from the head back to the initial state; ``everything``: also those that only a tag or an earlier
        head reaches, newest first."""
        meta = self.sessions.meta(session_id)
        return [self.commit_info(meta, c) for c in self.sessions.log(session_id, everything=everything)]

    def fork(
        self, session_id: str, name: str | None = None, at: str | None = None, *, keep_momentum: bool = True
    ) -> Info:
        """A new session at the head, or at commit ``at``; drift goes on counting from the same origin.

        Without ``keep_momentum`` the rule's memory begins anew; the weights are the same.
        """
        return self.info(self.sessions.fork(session_id, name, at, keep_momentum=keep_momentum))

    def tag(self, session_id: str, name: str, at: str | None = None) -> TagInfo:
        """Names a commit (default: the head)."""
        commit = self.sessions.tag(session_id, name, at)
        return TagInfo(session_id=session_id, tag=name, commit=commit.id, deleted=False)

    def tags(self, session_id: str) -> list[TagInfo]:
        """The tags of a session by name."""
        tags = sorted(self.sessions.meta(session_id).tags.items())
        return [TagInfo(session_id=session_id, tag=tag, commit=at, deleted=False) for tag, at in tags]

    def untag(self, session_id: str, name: str) -> TagInfo:
        """Deletes a tag; the commit stays."""
        return TagInfo(session_id=session_id, tag=name, commit=self.sessions.untag(session_id, name), deleted=True)

    def checkout(self, session_id: str, ref: str) -> Info:
        """Moves the head to a commit; what comes next grows from there. The head that it leaves stays in the log of
        everything."""
        return self.info(self.sessions.checkout(session_id, ref))

    def reset(self, session_id: str, to: str | None = None) -> Info:
        """A new commit with the state of commit ``to`` (None: the initial state): the history stays."""
        self.sessions.reset(session_id, to)
        return self.info(self.sessions.meta(session_id))

    def diff(
        self, session_id: str, a: str | None = None, b: str | None = None, other: str | None = None
    ) -> SessionDiff:
        """From commit ``a`` to commit ``b`` (default: from the initial state to the head).

        With ``other``, ``b`` is a commit of that session and ``a`` is by default this one's head.
        """
        meta = self.sessions.meta(session_id)
        other_meta = meta if other is None else self.sessions.meta(other)
        at_a = self.sessions.find(session_id, a or ("init" if other is None else "head"))
        at_b = self.sessions.find(other_meta.id, b or "head")
        base, a_only, b_only = self._since(at_a, at_b)
        states = self.sessions.state(at_a), self.sessions.state(at_b)
        return SessionDiff(
            session_id=session_id,
            other_id=other_meta.id,
            a=self.commit_info(meta, at_a),
            b=self.commit_info(other_meta, at_b),
            base=base,
            a_only=[self.commit_info(meta, c) for c in a_only],
            b_only=[self.commit_info(other_meta, c) for c in b_only],
            **changes.overall(*states),  # pyright: ignore[reportArgumentType]
            tensors=changes.tensor_changes(*states),
            numbers=changes.number_changes(self.numbers(at_a), self.numbers(at_b)),
        )

    def verify(
        self, session_id: str, ref: str | None = None, on_commit: Callable[[VerifiedCommit], None] | None = None
    ) -> Verification:
        """Recomputes a commit, or (``ref`` None) the whole history of the head, and compares bit for bit.

        ``on_commit`` is told of each as it is done, oldest first.
        """
        meta = self.sessions.meta(session_id)
        chosen = [*self.sessions.history(meta.head)][::-1] if ref is None else [self.sessions.find(session_id, ref)]
        return verify(self, meta, chosen, on_commit)

    # ------------------------------------------------------------------ inside

    def commit_info(self, meta: Meta, commit: Commit) -> CommitInfo:
        """A commit as a line of the log."""
        decisions = [event.get("decision") for event in commit.record.get("events", [])]
        target = "the initial state" if commit.to in (None, meta.root) else str(commit.to)[:SHORT]
        summaries = {
            "init": "initial state",
            "reset": f"reset to {target}",
            "fork": "fork with a fresh rule state",
            "revert": _reverted(commit),
        }
        return CommitInfo(
            commit=commit.id,
            short=commit.id[:SHORT],
            parent=commit.parent,
            kind=commit.kind,
            turn=commit.turn,
            summary=summaries.get(commit.kind) or self.summary(commit),
            state=commit.state,
            session=commit.session,
            to=commit.to,
            reverted=commit.reverted[0] if commit.kind == "revert" else None,
            head=commit.id == meta.head,
            tags=sorted(tag for tag, at in meta.tags.items() if at == commit.id),
            committed=decisions.count("committed"),
            blocked=decisions.count("blocked"),
            rolled_back=decisions.count("rolled_back"),
            drift=commit.record.get("drift"),
            created_at=commit.created_at,
        )

    def _since(self, a: Commit, b: Commit) -> tuple[str | None, list[Commit], list[Commit]]:
        """The newest common ancestor (None: other trees), and what each side has since, newest first."""
        chain_a, chain_b = [*self.sessions.history(a.id)], [*self.sessions.history(b.id)]
        behind_a = {c.id for c in chain_a}
        base = next((c.id for c in chain_b if c.id in behind_a), None)
        return base, _until(chain_a, base), _until(chain_b, base)


def taken_back(kind: str, frozen: bool) -> str:
    """What a revert does with a turn or run, for a sentence."""
    if not frozen:
        return "is learned from again"
    return "is read frozen" if kind == "run" else "is left out"


def _reverted(commit: Commit) -> str:
    kind = str(commit.record.get("reverted_kind", "turn"))
    return f"{kind} {commit.record.get('reverted_turn')} {taken_back(kind, commit.reverted[1])}"


def _until(chain: list[Commit], base: str | None) -> list[Commit]:
    return chain[: next((i for i, c in enumerate(chain) if c.id == base), len(chain))]
