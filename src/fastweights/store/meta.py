"""A session's ``meta.json``: the head, and what is said about the session beside its commits. Torch-free."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastweights.errors import Corrupt
from fastweights.store import atomic
from fastweights.store.objects import SHA

META = "meta.json"


@dataclass(frozen=True)
class Meta:
    """A session's ``meta.json``. ``root`` is the initial commit (forks inherit it); ``drift`` the head record's;
    ``left`` the heads that a checkout left and that are in no other's history; ``views`` the sizes in bytes of the
    JSON-lines views, None while they are being rewritten."""

    id: str
    kind: str
    model: str
    options: dict[str, Any]
    head: str
    root: str
    turns: int
    title: str
    created_at: str
    updated_at: str
    state_bytes: int
    drift: float | None = None
    parent_session: str | None = None
    forked_from: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    views: dict[str, int] | None = None


def read_meta(path: Path) -> Meta:
    """A session's ``meta.json``, checked; :class:`Corrupt` names the file."""
    value = atomic.read_json(path)
    try:
        meta = Meta(**value)
    except TypeError as error:
        raise Corrupt(f"{str(path)!r} is not a session record ({error}): run `fastweights fsck --repair`") from None
    whole = isinstance(meta.tags, dict) and isinstance(meta.left, list) and isinstance(meta.options, dict)
    ids = [meta.head, meta.root, *meta.left, *meta.tags.values()] if whole else [None]
    if meta.id != path.parent.name or not all(isinstance(x, str) and SHA.fullmatch(x) for x in ids):
        raise Corrupt(f"{str(path)!r} does not belong to session {path.parent.name!r}: run `fastweights fsck --repair`")
    return meta
