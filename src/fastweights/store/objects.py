"""Content-addressed files: the name is the SHA-256 of the content, so what is read is what was written. Torch-free."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.root import OBJECTS, Store

SHA = re.compile(r"[0-9a-f]{64}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Objects:
    """``objects/<first 2 hex digits>/<the other 62>``, shared by every kind of session."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def path(self, sha: str) -> Path:
        """The file of an object (whether it exists or not)."""
        if not isinstance(sha, str) or SHA.fullmatch(sha) is None:
            raise FastweightsError(f"object id {str(sha)[:80]!r} is not a SHA-256: give 64 hexadecimal digits")
        return self.store.path(OBJECTS, sha[:2], sha[2:])

    def put(self, data: bytes) -> str:
        """Stores ``data`` durably; returns its SHA-256. An object that is there and whole is not written again."""
        sha = sha256(data)
        path = self.path(sha)
        try:
            whole = atomic.read_bytes(path) == data
        except (NotFound, Corrupt):
            whole = False
        if whole:
            os.utime(path)  # in use again: keeps it from a garbage collection that runs now
        else:
            atomic.write_bytes(path, data)
        return sha

    def get(self, sha: str) -> bytes:
        """The object's bytes, verified against its name."""
        path = self.path(sha)
        try:
            data = atomic.read_bytes(path)
        except NotFound:
            raise NotFound(f"no object {sha}: run `fastweights fsck` to see what refers to it") from None
        found = sha256(data)
        if found != sha:
            raise Corrupt(
                f"{str(path)!r} ({len(data)} bytes) has SHA-256 {found[:12]}…, not {sha[:12]}…: restore a backup"
            )
        return data

    def has(self, sha: str) -> bool:
        return self.path(sha).is_file()

    def size(self, sha: str) -> int:
        """Bytes of an object on disk (0 if it is missing)."""
        try:
            return self.path(sha).stat().st_size
        except FileNotFoundError:
            return 0

    def __iter__(self) -> Iterator[str]:
        """Every id on disk, in order, whole or not."""
        root = self.store.path(OBJECTS)
        if not root.is_dir():
            return
        for shard in sorted(root.iterdir()):
            if shard.is_dir() and not shard.is_symlink() and len(shard.name) == 2:
                yield from (shard.name + f.name for f in sorted(shard.iterdir()) if SHA.fullmatch(shard.name + f.name))
