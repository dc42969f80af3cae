"""Commits: content-addressed states that name their parents, and walks over them. Torch-free.

A commit is a JSON object in ``objects/`` whose id is its SHA-256; it names its parent's id and its state's, so that an
id vouches for the whole history behind it.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import orjson

from fastweights.errors import Corrupt, FastweightsError
from fastweights.store import atomic, tensors
from fastweights.store.objects import SHA, Objects
from fastweights.store.root import now

CommitKind = Literal["init", "turn", "run", "reset", "fork", "revert"]
KINDS: tuple[CommitKind, ...] = get_args(CommitKind)
RULE = "rule/"


@dataclass(frozen=True)
class Commit:
    """One state of a session. ``state``: SHA-256 of the safetensors snapshot (``weights/``, ``rule/``, ``carry/``);
    ``guard`` and ``record`` are the caller's JSON; ``turn`` counts the turns or runs that the state has seen;
    ``session`` made it (None: recorded by an older version)."""

    id: str
    parent: str | None
    kind: CommitKind
    state: str
    turn: int
    guard: dict[str, Any]
    record: dict[str, Any]
    created_at: str
    session: str | None = None

    @property
    def to(self) -> str | None:
        """The commit whose state a reset took (None: not a reset, or one of an older version)."""
        to = self.record.get("to") if self.kind == "reset" else None
        return to if isinstance(to, str) and SHA.fullmatch(to) else None

    @property
    def reverted(self) -> tuple[str, bool]:
        """Of a revert: the turn or run, and whether it is read frozen from now on (False: the revert of a revert)."""
        return str(self.record.get("reverted")), bool(self.record.get("frozen", True))

    @property
    def retold(self) -> dict[str, dict[str, Any]]:
        """Of a revert: {commit of a turn: the fields of its record that are others now}, in order, of the turns that
        it replayed. Their events lie in the record one after the other; ``events`` counts them."""
        events, found = iter(self.record.get("events") or ()), {}
        for one in (self.record.get("retold") or ()) if self.kind == "revert" else ():
            own = list(itertools.islice(events, one["events"]))
            found[one["commit"]] = {**{k: v for k, v in one.items() if k != "commit"}, "events": own}
        return found

    @property
    def files(self) -> dict[str, str]:
        """{path in the session's folder: SHA-256 of the object} of the files that belong to this commit."""
        return dict(self.record.get("files") or {})


class Lived(NamedTuple):
    """A turn or run that a state has seen, or a fork in which the rule forgot its momentum. ``frozen``: a revert
    (``by``) took it back, so that nothing was learned from it. ``retold``: the fields of its record that are others
    since a revert replayed it. ``stored``: its commit's own state is the one on this path: nothing before it was taken
    back since."""

    commit: Commit
    frozen: bool = False
    by: str | None = None
    retold: Mapping[str, Any] | None = None
    stored: bool = True

    @property
    def record(self) -> dict[str, Any]:
        """What the turn says on this path."""
        return {**self.commit.record, **(self.retold or {})}


class Commits:
    """The commits among a store's objects."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def read(self, commit_id: str) -> Commit:
        """A commit by its full id, verified."""
        commit = parse(commit_id, self.objects.get(commit_id))
        if commit is None:
            raise Corrupt(f"object {commit_id} is not a commit: give the id of a commit (`fastweights session log`)")
        return commit

    def state(self, commit: Commit) -> bytes:
        """The snapshot's bytes, verified."""
        return self.objects.get(commit.state)

    def history(self, commit_id: str) -> Iterator[Commit]:
        """That commit, its parent, and so on to the initial one."""
        at: str | None = commit_id
        while at is not None:
            commit = self.read(at)
            yield commit
            at = commit.parent

    def reachable(self, starts: Iterable[str]) -> Iterator[Commit]:
        """Every commit behind ``starts`` once: parents, and what resets went back to."""
        seen: set[str] = set()
        wanted = [*starts][::-1]
        while wanted:
            at = wanted.pop()
            while at is not None and at not in seen:
                seen.add(at)
                commit = self.read(at)
                yield commit
                if commit.to is not None:
                    wanted.append(commit.to)
                at = commit.parent

    def transcript(self, commit_id: str) -> list[Commit]:
        """The turns (or runs) that the commit's state has seen, oldest first: a reset stands for what it took."""
        return [one.commit for one in self.lived(commit_id) if one.commit.kind != "fork"]

    def lived(self, commit_id: str) -> list[Lived]:
        """What the commit's state is made of, oldest first: the turns (or runs) that it has seen, reverted or not, and
        the forks without momentum between them."""
        path: list[Commit] = []
        at: str | None = commit_id
        while at is not None:
            commit = self.read(at)
            path.append(commit)
            at = commit.to if commit.kind == "reset" else commit.parent
        found: dict[str, Lived] = {}
        out: dict[str, str] = {}  # what is taken back, and the revert that did it
        then: dict[str, frozenset[str]] = {}  # the same when a commit was made
        for commit in reversed(path):
            if commit.kind in ("turn", "run", "fork"):
                found[commit.id], then[commit.id] = Lived(commit), frozenset(out)
            elif commit.kind == "revert":
                what, frozen = commit.reverted
                if frozen:
                    out[what] = commit.id
                else:
                    out.pop(what, None)
                for one, retold in commit.retold.items():
                    found[one] = found[one]._replace(retold=retold)
        before: set[str] = set()
        for one in found:
            found[one] = found[one]._replace(frozen=one in out, by=out.get(one), stored=then[one] == before)
            before |= {one} & out.keys()
        return [*found.values()]

    def put(
        self,
        session_id: str,
        parent: Commit | None,
        kind: CommitKind,
        state: bytes,
        guard: Mapping[str, Any],
        record: Mapping[str, Any],
    ) -> Commit:
        """Stores the state and the commit (not yet the pointer to it)."""
        if kind not in KINDS or (kind == "init") != (parent is None):
            raise FastweightsError(
                f"commit kind {kind!r} does not fit: 'init' comes first and once, then one of {', '.join(KINDS[1:])}"
            )
        value = {
            "parent": parent.id if parent else None,
            "kind": kind,
            "state": self.objects.put(state, like=parent.state if parent else None),
            "turn": self._turn(parent, kind, record),
            "guard": dict(guard),
            "record": dict(record),
            "created_at": now(),
            "session": session_id,
        }
        data = atomic.dump_json(value)
        return Commit(id=self.objects.put(data), **orjson.loads(data))

    def _turn(self, parent: Commit | None, kind: CommitKind, record: Mapping[str, Any]) -> int:
        if parent is None:
            return 0
        if kind == "reset":
            return self.read(record["to"]).turn if "to" in record else 0
        return parent.turn + (kind in ("turn", "run"))


def parse(commit_id: str, data: bytes) -> Commit | None:
    """The commit in ``data``, or None if it is something else."""
    if not data.startswith(b"{"):
        return None
    try:
        commit = Commit(id=commit_id, **orjson.loads(data))
    except (TypeError, orjson.JSONDecodeError):
        return None
    whole = commit.kind in KINDS and isinstance(commit.state, str) and SHA.fullmatch(commit.state)
    return commit if whole and isinstance(commit.record, dict) and isinstance(commit.guard, dict) else None


def fresh_rule(state: bytes, initial: bytes) -> bytes:
    """``state`` with the rule's memory (momentum) of ``initial``: what a fork without momentum begins with."""
    entries, meta = tensors.unpack(state, "state snapshot")
    first, _ = tensors.unpack(initial, "initial state snapshot")
    kept = {name: raw for name, raw in entries.items() if not name.startswith(RULE)}
    return tensors.pack({**kept, **{name: raw for name, raw in first.items() if name.startswith(RULE)}}, meta)
