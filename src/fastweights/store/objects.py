"""Content-addressed files: the name is the SHA-256 of the content, so what is read is what was written. Torch-free.

A snapshot with tables is stored as what changed since an earlier one (:mod:`fastweights.store.deltas`): its name is
still that of its whole content. Number n of such a chain builds on n without its lowest set bit, as in a tree of
Fenwick (1994): the n-th is read in at most log2(n) steps, and a change is stored log2(n) / 2 times.
"""

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.store import atomic, deltas, tensors
from fastweights.store.atomic import sha256
from fastweights.store.root import OBJECTS, Store

SHA = re.compile(r"[0-9a-f]{64}")
_HEADER = struct.Struct("<8s32sIQ")  # magic, SHA-256 of what it builds on, number in the chain, bytes of the content
_MAGIC = b"fwdelta1"
Stamp = tuple[int, int, int]
"""Inode, size and time of change of a file."""


class Change(NamedTuple):
    """What the file of a changed snapshot begins with. ``size``: bytes of the whole content."""

    base: str
    number: int
    size: int


class Objects:
    """``objects/<first 2 hex digits>/<the other 62>``, shared by every kind of session."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._recent = _Recent()

    def path(self, sha: str) -> Path:
        """The file of an object (whether it exists or not)."""
        if not isinstance(sha, str) or SHA.fullmatch(sha) is None:
            raise FastweightsError(f"object id {str(sha)[:80]!r} is not a SHA-256: give 64 hexadecimal digits")
        return self.store.path(OBJECTS, sha[:2], sha[2:])

    def put(self, data: bytes, like: str | None = None) -> str:
        """Stores ``data`` durably; returns its SHA-256. An object that is there and whole is not written again.

        ``like``: the object that it comes from; if both are snapshots with tables, what changed may be all that is
        written.
        """
        sha = sha256(data)
        path = self.path(sha)
        try:
            whole = self.get(sha) == data
        except (NotFound, Corrupt):
            whole = False
        if whole:
            os.utime(path)  # in use again: keeps it from a garbage collection that runs now
        else:
            file = None if like is None else self._change(data, like)
            atomic.write_bytes(path, file or data)
            if file is not None:
                self._recent.keep(sha, data, self._stamps(sha))
        return sha

    def get(self, sha: str) -> bytes:
        """The object's bytes, verified against its name."""
        if (kept := self._recent.get(sha, self._stamp)) is not None:
            return kept
        data = self._file(sha)
        found, change = sha256(data), _header(data)
        if found != sha and change is not None:
            stamps = self._stamps(sha)
            data = self._whole(sha, change, data)
            found = sha256(data)
            if found == sha:
                self._recent.keep(sha, data, stamps)
        if found != sha:
            raise Corrupt(
                f"{str(self.path(sha))!r} ({len(data)} bytes) has SHA-256 {found[:12]}…, not {sha[:12]}…: "
                "restore a backup"
            )
        return data

    def has(self, sha: str) -> bool:
        return self.path(sha).is_file()

    def size(self, sha: str) -> int:
        """Bytes of an object's content (0 if it is missing)."""
        try:
            change = self._change_of(sha)
            return self.path(sha).stat().st_size if change is None else change.size
        except (FileNotFoundError, NotFound):
            return 0

    def behind(self, sha: str) -> Iterator[str]:
        """The objects that one builds on, each on the next; ends where one is missing."""
        number = None
        while self.has(sha) and (change := self._change_of(sha)) is not None:
            if number is not None and change.number >= number:
                return  # no chain of ours
            sha, number = change.base, change.number
            yield sha

    # ------------------------------------------------------------ snapshots as changes

    def _stamp(self, sha: str) -> Stamp | None:
        try:
            at = self.path(sha).stat()
        except FileNotFoundError:
            return None
        return at.st_ino, at.st_size, at.st_mtime_ns

    def _stamps(self, sha: str) -> dict[str, Stamp | None]:
        return {one: self._stamp(one) for one in (sha, *self.behind(sha))}

    def _file(self, sha: str) -> bytes:
        try:
            return atomic.read_bytes(self.path(sha))
        except NotFound:
            raise NotFound(f"no object {sha}: run `fastweights fsck` to see what refers to it") from None

    def _change_of(self, sha: str) -> Change | None:
        """None: stored whole."""
        return _header(atomic.read_bytes(self.path(sha), size=_HEADER.size))

    def _whole(self, sha: str, change: Change, data: bytes) -> bytes:
        """The content of a changed snapshot, not verified."""
        try:
            return tensors.pack(self._changed(change, data))
        except NotFound:
            why = f"builds on object {change.base}, or on one behind it, that is missing"
        except (ValueError, KeyError, zlib.error, Corrupt) as error:
            why = f"cannot be read: {error}"
        raise Corrupt(f"{str(self.path(sha))!r} {why}; restore a backup") from None

    def _changed(self, change: Change, data: bytes) -> dict[str, tensors.Raw]:
        base = self._file(change.base)
        under = _header(base)
        if under is not None and under.number >= change.number:
            raise ValueError(f"it is number {change.number}, and builds on number {under.number}")
        old = tensors.unpack(base, f"object {change.base}")[0] if under is None else self._changed(under, base)
        return deltas.apply(old, data[_HEADER.size :])

    def _change(self, data: bytes, like: str) -> bytes | None:
        """The file of ``data`` as a change; None where that is not much smaller, or cannot be read back."""
        try:
            new, _ = tensors.unpack(data)
            if not deltas.has_table(new):
                return None
            base, number = like, 1
            if (change := self._change_of(like)) is not None:
                number = change.number + 1
                while change is not None and change.number > number & (number - 1):
                    base = change.base
                    change = self._change_of(base)
            old, _ = tensors.unpack(self.get(base))
        except (NotFound, Corrupt):
            return None
        delta = deltas.between(old, new)
        if len(delta) > 0.75 * len(data) or tensors.pack(deltas.apply(old, delta)) != data:
            return None
        return _HEADER.pack(_MAGIC, bytes.fromhex(base), number, len(data)) + delta

    def __iter__(self) -> Iterator[str]:
        """Every id on disk, in order, whole or not."""
        root = self.store.path(OBJECTS)
        if not root.is_dir():
            return
        for shard in sorted(root.iterdir()):
            if shard.is_dir() and not shard.is_symlink() and len(shard.name) == 2:
                yield from (shard.name + f.name for f in sorted(shard.iterdir()) if SHA.fullmatch(shard.name + f.name))


class _Recent:
    """Contents of changed snapshots that were read or written last, for as long as their files stay as they were, so
    that a session's next turn need not put its state together again. Of all sessions 32 MB at most."""

    def __init__(self, limit: int = 32 << 20) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: dict[str, tuple[bytes, dict[str, Stamp | None]]] = {}

    def keep(self, sha: str, data: bytes, stamps: dict[str, Stamp | None]) -> None:
        with self._lock:
            self._kept.pop(sha, None)
            self._kept[sha] = data, stamps
            while sum(len(kept) for kept, _ in self._kept.values()) > self._limit:
                del self._kept[next(iter(self._kept))]

    def get(self, sha: str, stamp: Callable[[str], Stamp | None]) -> bytes | None:
        with self._lock:
            data, stamps = self._kept.get(sha, (None, {}))
        return data if all(stamp(one) == was is not None for one, was in stamps.items()) else None


def _header(data: bytes) -> Change | None:
    """None: ``data`` is the content itself."""
    if not data.startswith(_MAGIC) or len(data) < _HEADER.size:
        return None
    _, base, number, size = _HEADER.unpack_from(data)
    return Change(base.hex(), number, size)
