"""Revert: a session's state as if one of its turns or runs had never been learned from.

As with git, a revert is a new commit on top of the history. Its state is that of the same turns or runs, replayed from
what they recorded, of which the reverted one is read frozen: the reader lives through it, and learns nothing from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from fastweights.errors import Conflict, FastweightsError
from fastweights.services.environment import environment
from fastweights.services.sessions import SessionService
from fastweights.services.verify import Made
from fastweights.store.commits import Commit, Lived
from fastweights.store.meta import Meta

Info = TypeVar("Info")


class RevertService(SessionService[Info]):
    """The sessions of a kind whose past can be lived through again."""

    @abstractmethod
    def relive(self, meta: Meta, start: Commit, rest: Sequence[Lived]) -> Made:
        """The state after ``rest``, from that of ``start``: turns or runs as they were recorded (the frozen ones read
        without learning), and forks in which the rule forgets its momentum."""

    def revert(self, session_id: str, what: str) -> Info:
        """A new commit whose state has not learned from ``what``: the number of a turn or run, or a commit.

        The commit may be another revert: what that one took back is learned from again.
        """
        with self.sessions.lock(session_id, "reverting"):
            meta = self.sessions.meta(session_id)
            head = self.sessions.read(meta.head)
            run, frozen = self._asked(meta, head, what)
            made = self._without(meta, head, run.id, frozen)
            said = {"reverted": run.id, "reverted_kind": run.kind, "reverted_turn": run.turn, "frozen": frozen}
            self.sessions.commit(
                session_id,
                parent=head.id,
                kind="revert",
                state=made.state,
                guard=made.guard,
                record={
                    **made.outputs,
                    **said,
                    "replay": {"environment": environment(self.device()).model_dump()},
                },
            )
            return self.info(self.sessions.meta(session_id))

    def reverted(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        """The state of a revert, computed again."""
        return self._without(meta, parent, *commit.reverted)

    # ------------------------------------------------------------------ inside

    def _asked(self, meta: Meta, head: Commit, what: str) -> tuple[Commit, bool]:
        """(turn or run, whether it shall be frozen)."""
        lived = {one.commit.id: one for one in self.sessions.commits.lived(head.id)}
        runs = [one.commit for one in lived.values() if one.commit.kind != "fork"]
        if what.isdecimal() and (found := next((c for c in runs if c.turn == int(what)), None)) is not None:
            named = found
        else:
            named = self.sessions.find(meta.id, what)
        name, frozen = repr(what[:80]), True
        if named.kind == "revert":
            run_id, was = named.reverted
            named, frozen = self.sessions.read(run_id), not was
        if named.kind not in ("turn", "run"):
            raise FastweightsError(
                f"{name} is a commit of kind {named.kind!r}: only turns, runs and reverts can be reverted (`log`)"
            )
        if (one := lived.get(named.id)) is None:
            raise FastweightsError(
                f"{name} is not among the {len(runs)} turns or runs that the head of session {meta.id!r} has seen: "
                "`show` lists them"
            )
        if one.frozen == frozen:
            now = "read frozen" if frozen else "learned from"
            raise Conflict(f"{name} is {now} already: revert the revert of it to change that (`log`)")
        return named, frozen

    def _without(self, meta: Meta, parent: Commit, run_id: str, frozen: bool) -> Made:
        """Replayed from the latest stored state that has seen the same up to the run, which is mostly its parent."""
        commits = self.sessions.commits
        lived = [one._replace(frozen=frozen) if one.commit.id == run_id else one for one in commits.lived(parent.id)]
        at = next(i for i, one in enumerate(lived) if one.commit.id == run_id)
        before = lived[at].commit.parent
        if before is not None and _same(commits.lived(before), lived[:at]):
            return self.relive(meta, self.sessions.read(before), lived[at:])
        return self.relive(meta, self.sessions.read(meta.root), lived)


def _same(a: Sequence[Lived], b: Sequence[Lived]) -> bool:
    return [(x.commit.id, x.frozen) for x in a] == [(x.commit.id, x.frozen) for x in b]
