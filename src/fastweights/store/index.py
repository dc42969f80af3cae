"""Folders with one JSON record each, listed fast: ``index.json`` is a cache that may be deleted. Torch-free."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from fastweights.errors import FastweightsError
from fastweights.store import atomic
from fastweights.store.root import ID, Store

INDEX = "index.json"
T = TypeVar("T")


def folder_ids(store: Store, folder: str) -> Iterator[str]:
    """Ids of the sub-folders (no symlinks, no foreign names), sorted."""
    root = store.path(folder)
    if root.is_dir():
        with os.scandir(root) as entries:
            yield from sorted(e.name for e in entries if ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False))


def cached_records(
    store: Store,
    folder: str,
    record: str,
    read: Callable[[Path], dict[str, Any]],
    take: Callable[[str], T] = orjson.loads,
    *,
    remember: bool = False,
) -> tuple[dict[str, T], dict[str, str]]:
    """({id: record}, {id: one-line error}) of every sub-folder that has the file ``record``.

    ``read`` gives a record from its file, ``take`` makes of its JSON what is returned. The cache holds each record as
    JSON text, so that reading it makes few objects. An entry counts only while the record's inode, size and
    modification time are those it was read at, so a stale, damaged or deleted cache costs time, never truth. The cache
    is rewritten when it differs; of a record that cannot be read any more it keeps what it last saw, for
    ``fsck --repair``. ``remember``: also in this process, for values that nobody changes; where no record differs from
    what was listed last, they are returned again.
    """
    names = [*folder_ids(store, folder)]
    path = store.path(folder, INDEX)
    if remember and (listed := _as_listed(store, folder, record, names)) is not None:
        return listed, {}
    old = _cached(path)
    root = f"{os.fspath(store.path(folder))}{os.sep}"
    entries: dict[str, dict[str, Any]] = {}
    taken: dict[str, T] = {}
    broken: dict[str, str] = {}
    kept: dict[str, dict[str, Any]] = {}
    hits = 0
    for name in names:
        hit = old.get(name)
        if not (isinstance(hit, dict) and isinstance(hit.get("record"), str)):
            hit = None
        try:
            stamp = _stamp(f"{root}{name}{os.sep}{record}")
            if hit is not None and hit.get("stamp") == stamp:
                with suppress(TypeError, KeyError, orjson.JSONDecodeError):  # else the text is damaged: read again
                    taken[name] = take(hit["record"])
                    entries[name] = hit
                    hits += 1
                    continue
            text = atomic.dump_json(read(store.path(folder, name, record))).decode()
            taken[name] = take(text)
            entries[name] = {"stamp": stamp, "record": text}
        except FileNotFoundError:  # being created, or left behind by a crash, or lost
            kept |= {} if hit is None else {name: hit}
        except FastweightsError as error:
            broken[name] = str(error)
            kept |= {} if hit is None else {name: hit}
    if hits < len(entries) or len(old) != len(entries) + len(kept):
        with suppress(OSError):  # a cache on a read-only or full disk is no reason to fail a listing
            cache = {"version": 3, "entries": {**entries, **kept}}
            atomic.write_bytes(path, atomic.dump_json(cache), durable=False)
    if remember:
        with suppress(OSError):
            index = _stamp(os.fspath(path))
            store.listed[folder] = (index, {name: entry["stamp"] for name, entry in entries.items()}, taken)
    return dict(taken), broken


def _as_listed(store: Store, folder: str, record: str, names: list[str]) -> Any:
    """The records as this process listed them last, if it was the same folders and no record has changed since."""
    index, stamps, taken = store.listed.get(folder, (None, {}, {}))
    if not names or len(stamps) != len(names):
        return None
    with suppress(OSError):
        root = f"{store.root}{os.sep}{folder}{os.sep}"
        same = all(stamps.get(name) == _stamp(f"{root}{name}{os.sep}{record}") for name in names)
        if same and index == _stamp(f"{root}{INDEX}"):
            return dict(taken)
    return None


def _stamp(path: str) -> list[int]:
    """What changes whenever the file does; its kind is one of them, so that a link is never taken for the file."""
    at = os.stat(path, follow_symlinks=False)
    return [at.st_ino, at.st_size, at.st_mtime_ns, stat.S_IFMT(at.st_mode)]


def _cached(path: Path) -> dict[str, Any]:
    try:
        old = atomic.read_json(path).get("entries", {})
    except FastweightsError:
        return {}
    return old if isinstance(old, dict) else {}
