"""What the store holds of a session of Nano, as the records that users see: options, the row of a list, a run."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError

from fastweights.errors import Corrupt, FastweightsError
from fastweights.hints import describe
from fastweights.models.nano_config import NanoLearning
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.session_records import NanoMetrics, NanoSession, NanoSessionRun, NanoSignature
from fastweights.services.verbs.verify import CannotReplay
from fastweights.store import atomic
from fastweights.store.commits import Commit
from fastweights.store.meta import Meta
from fastweights.store.refs import SHORT

_RUN_FIELDS = {*NanoMetrics.model_fields, "stopped", "seconds"}


class Pinned(NanoSetting):
    """``options`` in a session's ``meta.json``: the setting, and what forks inherit of the signature."""

    root_session: str
    config_sha256: str
    base_sha256: str

    def setting(self) -> NanoSetting:
        return NanoSetting(**{name: getattr(self, name) for name in NanoSetting.model_fields})


def readable(meta: Meta) -> NanoSession | None:
    """None for a session whose options this version cannot read: one odd record must not hide the others."""
    try:
        return info(meta)
    except FastweightsError:
        return None


def options(meta: Meta) -> Pinned:
    """The session's options; how many sessions learn is the same, and checked once."""
    try:
        learning = _learning(atomic.dump_json(meta.options.get("learning")))
        return Pinned.model_validate({**meta.options, "learning": learning})
    except ValidationError as error:
        raise Corrupt(f"session {meta.id!r} has options that cannot be read: {describe(error)}") from None


@lru_cache(maxsize=256)
def _learning(value: bytes) -> NanoLearning:
    return NanoLearning.model_validate_json(value)


def info(meta: Meta) -> NanoSession:
    pinned = options(meta)
    return NanoSession(
        session_id=meta.id,
        model=pinned.mode,
        options=pinned.setting(),
        signature=NanoSignature(
            parent_session=meta.parent_session,
            root_session=pinned.root_session,
            config_sha256=pinned.config_sha256,
            base_sha256=pinned.base_sha256,
        ),
        head=meta.head,
        root=meta.root,
        n_turns=meta.turns,
        title=meta.title,
        parent_session=meta.parent_session,
        forked_from=meta.forked_from,
        tags=meta.tags,
        created_at=meta.created_at,
        updated_at=meta.updated_at,
        state_bytes=meta.state_bytes,
        drift=meta.drift,
    )


def asked(commit: Commit) -> tuple[str, int]:
    """The run that a commit is, and of how many steps."""
    run_id, steps = commit.record.get("run_id"), commit.record.get("steps")
    if not isinstance(run_id, str) or not isinstance(steps, int):
        raise CannotReplay("its record does not say which run it was, and of how many steps")
    return run_id, steps


def run(commit: Commit, reverted: bool = False) -> NanoSessionRun:
    said = {name: commit.record[name] for name in _RUN_FIELDS if name in commit.record}
    try:
        return NanoSessionRun(
            **said,
            session_id=commit.session,
            commit=commit.id,
            turn=commit.turn,
            created_at=commit.created_at,
            reverted=reverted,
        )
    except ValidationError as error:
        raise Corrupt(f"commit {commit.id[:SHORT]} is not a run of Nano: {describe(error)}") from None
