"""Folders with one JSON record each, listed fast: ``index.json`` is a cache that may be deleted. Torch-free."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError
from fastweights.store import atomic
from fastweights.store.root import ID, Store

INDEX = "index.json"


def folder_ids(store: Store, folder: str) -> Iterator[str]:
    """Ids of the sub-folders (no symlinks, no foreign names), sorted."""
    root = store.path(folder)
    if root.is_dir():
        with os.scandir(root) as entries:
            yield from sorted(e.name for e in entries if ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False))


def cached_records(
    store: Store, folder: str, record: str, read: Callable[[Path], dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """({id: record}, {id: one-line error}) of every sub-folder that has the file ``record``.

    An entry of the cache counts only while the record's inode, size and modification time are those it was read at, so
    a stale, damaged or deleted cache costs time, never truth. The cache is rewritten when it differs; of a record that
    cannot be read any more it keeps what it last saw, for ``fsck --repair``.
    """
    path = store.path(folder, INDEX)
    old = _cached(path)
    root = os.fspath(store.path(folder))
    entries: dict[str, dict[str, Any]] = {}
    broken: dict[str, str] = {}
    kept: dict[str, dict[str, Any]] = {}
    hits = 0
    for name in folder_ids(store, folder):
        hit = old.get(name)
        if not (isinstance(hit, dict) and isinstance(hit.get("record"), dict)):
            hit = None
        try:
            at = os.stat(f"{root}{os.sep}{name}{os.sep}{record}", follow_symlinks=False)
            stamp = [at.st_ino, at.st_size, at.st_mtime_ns]
            if hit is not None and hit.get("stamp") == stamp and stat.S_ISREG(at.st_mode):
                entries[name] = hit
                hits += 1
            else:
                entries[name] = {"stamp": stamp, "record": read(store.path(folder, name, record))}
        except FileNotFoundError:  # being created, or left behind by a crash, or lost
            kept |= {} if hit is None else {name: hit}
        except FastweightsError as error:
            broken[name] = str(error)
            kept |= {} if hit is None else {name: hit}
    if hits < len(entries) or len(old) != len(entries) + len(kept):
        with suppress(OSError):  # a cache on a read-only or full disk is no reason to fail a listing
            cache = {"version": 1, "entries": {**entries, **kept}}
            atomic.write_bytes(path, atomic.dump_json(cache), durable=False)
    return {name: entry["record"] for name, entry in entries.items()}, broken


def _cached(path: Path) -> dict[str, Any]:
    try:
        old = atomic.read_json(path).get("entries", {})
    except FastweightsError:
        return {}
    return old if isinstance(old, dict) else {}
