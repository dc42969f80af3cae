"""What the store holds of a text session, as the records that users see: options, the row of a list, a turn."""

from __future__ import annotations

from functools import lru_cache

from pydantic import ValidationError

from fastweights.errors import Corrupt, FastweightsError
from fastweights.hints import describe
from fastweights.services.records import SessionInfo, SessionOptions, Turn
from fastweights.store import atomic
from fastweights.store.commits import Commit, Lived
from fastweights.store.meta import Meta


def readable(meta: Meta) -> SessionInfo | None:
    """None for a session whose options this version cannot read: one odd record must not hide the others."""
    try:
        return info(meta)
    except FastweightsError:
        return None


def options(meta: Meta) -> SessionOptions:
    """The session's options; those of many sessions are the same, and checked once."""
    try:
        return _checked(atomic.dump_json(meta.options))
    except ValidationError as error:
        raise Corrupt(f"session {meta.id!r} has options that cannot be read: {describe(error)}") from None


@lru_cache(maxsize=256)
def _checked(options: bytes) -> SessionOptions:
    return SessionOptions.model_validate_json(options)


def info(meta: Meta) -> SessionInfo:
    return SessionInfo(
        session_id=meta.id,
        model=meta.model,
        options=options(meta),
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


def turn(commit: Commit, lived: Lived | None = None) -> Turn:
    """``lived``: as it is read on the path to a head."""
    one = lived or Lived(commit)
    own = {"turn": commit.turn, "commit": commit.id, "created_at": commit.created_at}
    said = {key: value for key, value in one.record.items() if key != "replay"}
    return Turn.model_validate({**said, **own, "retold": one.retold is not None, "reverted_by": one.by})
