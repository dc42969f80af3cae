"""Revert: a session's state as if one of its turns or runs had never been learned from.

As with git, a revert is a new commit on top of the history. Its state is that of the same turns or runs, replayed from
what they recorded, but for the reverted one. A turn of a text session is left out wholly, as if it had never been sent:
the messages after it are read again, and their replies drawn again with the same seeds. A run of Nano is read frozen:
its world went on, so the reader lives through it, and learns nothing from it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.services.verbs import diff as changes
from fastweights.services.verbs.environment import environment
from fastweights.services.verbs.records import Verification, Without
from fastweights.services.verbs.service import SessionService, taken_back
from fastweights.services.verbs.verify import Made, verify
from fastweights.store.commits import Commit, Lived
from fastweights.store.meta import Meta
from fastweights.store.refs import SHORT

Info = TypeVar("Info")


class RevertService(SessionService[Info]):
    """The sessions of a kind whose past can be lived through again."""

    @abstractmethod
    def relive(self, meta: Meta, start: Commit, rest: Sequence[Lived]) -> Made:
        """The state after ``rest``, from that of ``start``: turns or runs as they were recorded (the frozen ones left
        out, or read without learning), and forks in which the rule forgets its momentum."""

    def revert(self, session_id: str, what: str) -> Info:
        """A new commit whose state has not learned from ``what``: the number of a turn or run, or a commit.

        The commit may be another revert: what that one took back is learned from again.
        """
        with self.sessions.lock(session_id, "reverting"):
            meta = self.sessions.meta(session_id)
            head = self.sessions.read(meta.head)
            run, frozen = self._asked(meta, head, what)
            made = self.without(meta, head, run.id, frozen)
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
        return self.without(meta, parent, *commit.reverted)

    def verify_without(self, session_id: str, what: str) -> Verification:
        """Whether the head is, bit for bit, the state of a session that never saw ``what`` (a turn or run by its
        number, or by its commit), nor anything else that was taken back.

        That state is computed from the initial one on, which is itself made anew; no other stored state is used.
        """
        meta = self.sessions.meta(session_id)
        head, root = self.sessions.read(meta.head), self.sessions.read(meta.root)
        lived = self.sessions.commits.lived(head.id)
        named, _ = self._named(meta, lived, what)
        rest = [one._replace(frozen=True) if one.commit.id == named.id else one for one in lived]
        seen = any(one.commit.id == named.id and not one.frozen for one in lived)
        never: list[Made] = []  # the state of a session that never saw it

        def anew() -> Made:
            never.append(self.relive(meta, root, rest))
            return replace(never[0], outputs={})

        moved = head.id != root.id
        result = verify(self, meta, [root, head] if moved else [root], anew={head.id: anew} if moved else None)
        about = Without(
            turn=named.turn,
            kind=named.kind,
            commit=named.id,
            summary=self.summary(named),
            reverted=not seen,
            turns=sum(not one.frozen and one.commit.kind != "fork" for one in rest),
        )
        *others, last = result.commits
        if last.status == "differs" and never:
            told = f"it has seen {named.kind} {named.turn}" if seen else "the others do not give it"
            apart = changes.overall(never[0].state, self.sessions.state(head))["l2"]
            last = last.model_copy(
                update={"problem": f"{told}: fast weights differ by {apart:.4g} (L2); {last.problem}"}
            )
        return result.model_copy(update={"without": about, "commits": [*others, last]})

    # ------------------------------------------------------------------ inside

    def _named(self, meta: Meta, lived: Sequence[Lived], what: str) -> tuple[Commit, Commit]:
        """(turn or run, commit) that ``what`` names, a number or a commit; of a revert what it reverted, and itself."""
        by_turn = {str(one.commit.turn): one.commit for one in lived if one.commit.kind != "fork"}
        try:
            named = by_turn.get(what) or self.sessions.find(meta.id, what)
        except NotFound:
            if not what.isdecimal():
                raise
            raise NotFound(
                f"{what[:80]!r} is not among the {len(by_turn)} turns or runs that the head of session {meta.id!r} has "
                "seen: `show` lists them"
            ) from None
        meant = self.sessions.read(named.reverted[0]) if named.kind == "revert" else named
        if meant.kind not in ("turn", "run"):
            raise FastweightsError(
                f"{what[:80]!r} is a commit of kind {meant.kind!r}: give a turn, a run, or a revert of one (`log`)"
            )
        return meant, named

    def _asked(self, meta: Meta, head: Commit, what: str) -> tuple[Commit, bool]:
        """(turn or run, whether it shall be frozen)."""
        lived = self.sessions.commits.lived(head.id)
        meant, named = self._named(meta, lived, what)
        frozen = not (named.kind == "revert" and named.reverted[1])
        if (one := next((x for x in lived if x.commit.id == meant.id), None)) is None:
            raise FastweightsError(
                f"{what[:80]!r} is not among the {len(lived)} turns or runs that the head of session {meta.id!r} has "
                "seen: `show` lists them"
            )
        if one.frozen == frozen:
            back = f" (`revert {one.by[:SHORT]}`)" if one.by else ""
            raise Conflict(
                f"{what[:80]!r} {taken_back(meant.kind, frozen)} already: revert the revert of it to change that{back}"
            )
        return meant, frozen

    def without(self, meta: Meta, parent: Commit, run_id: str, frozen: bool) -> Made:
        """The state of ``parent`` had the run been frozen, or (``frozen`` False) had it not been.

        Replayed from the latest stored state that has seen the same up to the run, which is mostly its parent.
        """
        commits = self.sessions.commits
        lived = [one._replace(frozen=frozen) if one.commit.id == run_id else one for one in commits.lived(parent.id)]
        at = next(i for i, one in enumerate(lived) if one.commit.id == run_id)
        before = lived[at].commit.parent
        if before is not None and _same(commits.lived(before), lived[:at]):
            return self.relive(meta, self.sessions.read(before), lived[at:])
        return self.relive(meta, self.sessions.read(meta.root), lived)


def _same(a: Sequence[Lived], b: Sequence[Lived]) -> bool:
    return [(x.commit.id, x.frozen) for x in a] == [(x.commit.id, x.frozen) for x in b]
