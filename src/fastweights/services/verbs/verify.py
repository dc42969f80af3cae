"""Commits recomputed from what they recorded, and compared bit for bit with what was stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from fastweights.errors import FastweightsError
from fastweights.services.verbs.diff import first_mismatch
from fastweights.services.verbs.environment import differences, environment
from fastweights.services.verbs.records import Environment, Status, Verification, VerifiedCommit
from fastweights.store import atomic
from fastweights.store.commits import Commit, fresh_rule
from fastweights.store.meta import Meta
from fastweights.store.objects import sha256
from fastweights.store.refs import SHORT

if TYPE_CHECKING:
    from fastweights.services.verbs.service import SessionService


@dataclass(frozen=True)
class Made:
    """What a commit is made of. ``state``: the snapshot's bytes; ``guard``: the guard's histories as JSON; ``outputs``:
    fields of the commit's record that a replay must give again (a reply, events)."""

    state: bytes
    guard: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)


class CannotReplay(FastweightsError):
    """A commit that does not hold what a replay needs; says why."""


def verify(
    service: SessionService[Any],
    meta: Meta,
    commits: list[Commit],
    on_commit: Callable[[VerifiedCommit], None] | None = None,
    *,
    anew: Mapping[str, Callable[[], Made]] | None = None,
) -> Verification:
    """Recomputes ``commits`` one by one, each from its parent's stored state: one wrong commit is one finding.

    ``anew``: {commit id: what makes it} where that is something else.
    """
    done: list[VerifiedCommit] = []
    for commit in commits:
        done.append(_verify_one(service, meta, commit, (anew or {}).get(commit.id)))
        if on_commit is not None:
            on_commit(done[-1])
    here = environment(service.device())
    made_in = [e for c in commits if (e := recorded_environment(c)) is not None]
    statuses: tuple[Status, ...] = get_args(Status)
    count = {status: sum(v.status == status for v in done) for status in statuses}
    return Verification(
        session_id=meta.id,
        ok=count["verified"] == len(done),
        verified=count["verified"],
        differs=count["differs"],
        damaged=count["damaged"],
        unverifiable=count["unverifiable"],
        environment=here,
        notes=differences(made_in, here),
        commits=done,
    )


def recorded_environment(commit: Commit) -> Environment | None:
    """Where a commit was made, if it says so in ``replay.environment`` of its record."""
    said = (commit.record.get("replay") or {}).get("environment")
    try:
        return Environment.model_validate(said) if isinstance(said, dict) else None
    except ValidationError:
        return None


def _verify_one(
    service: SessionService[Any], meta: Meta, commit: Commit, anew: Callable[[], Made] | None
) -> VerifiedCommit:
    recomputed = tensor = problem = None
    status: Status = "damaged"
    try:
        recorded = service.sessions.state(commit)
        if anew is None and commit.parent is not None:
            service.sessions.state(service.sessions.read(commit.parent))
        status = "unverifiable"
        made = _make(service, meta, commit) if anew is None else anew()
        recomputed = sha256(made.state)
        tensor, problem = _compare(commit, recorded, made)
        status = "differs" if problem else "verified"
    except FastweightsError as error:
        problem = str(error) if status == "damaged" else f"cannot be verified: {error}"
    return VerifiedCommit(
        commit=commit.id,
        short=commit.id[:SHORT],
        kind=commit.kind,
        turn=commit.turn,
        status=status,
        problem=problem,
        tensor=tensor,
        state=commit.state,
        recomputed=recomputed,
    )


def _make(service: SessionService[Any], meta: Meta, commit: Commit) -> Made:
    """The commit's state and guard histories, computed again."""
    sessions = service.sessions
    if commit.parent is None:
        return service.initial(meta, commit)
    parent = sessions.read(commit.parent)
    if commit.kind == "reset":
        target = sessions.read(commit.to or meta.root)
        return Made(sessions.state(target), target.guard)
    if commit.kind == "fork":
        return Made(fresh_rule(sessions.state(parent), sessions.state(sessions.read(meta.root))), parent.guard)
    if commit.kind == "revert":
        return service.reverted(meta, parent, commit)
    return service.replay(meta, parent, commit)


def _compare(commit: Commit, recorded: bytes, made: Made) -> tuple[str | None, str | None]:
    """(tensor, first mismatch), both None if nothing differs."""
    if recorded != made.state:
        return first_mismatch(recorded, made.state)
    for what, kept, new in (("guard", commit.guard, made.guard), ("record", commit.record, made.outputs)):
        if name := _first_difference(kept, new):
            return None, f"the state is the same, but {what} field {name!r} differs"
    return None, None


def _first_difference(kept: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first field of ``new`` that ``kept`` holds otherwise, or lacks."""
    return next((name for name in new if name not in kept or not _agree(kept[name], new[name])), None)


def _agree(kept: Any, new: Any) -> bool:
    """Equal bit for bit in every field that both know: a later version may report more."""
    if isinstance(kept, dict) and isinstance(new, dict):
        return all(_agree(kept[name], new[name]) for name in kept.keys() & new.keys())
    if isinstance(kept, list) and isinstance(new, list):
        return len(kept) == len(new) and all(map(_agree, kept, new))
    return atomic.dump_json(kept) == atomic.dump_json(new)
