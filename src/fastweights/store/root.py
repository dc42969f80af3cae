"""The root folder of a store, the ids inside it, and the one way to make a path. Torch-free."""

import os
import re
import secrets
import stat
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FILE = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})\.(json|jsonl|safetensors|csv|txt|lock|log|yaml)")

MODELS, TEXT_SESSIONS, TEXT_RUNS, OBJECTS = "text_models", "text_sessions", "text_runs", "objects"
SESSIONS = "sessions"  # of Nano


def check_id(kind: str, value: object) -> str:
    """Returns ``value`` if it is a valid id; ``kind`` ("model", "session", ...) names the field in the error."""
    if not isinstance(value, str) or ID.fullmatch(value) is None:
        raise FastweightsError(
            f"{kind} id {str(value)[:80]!r} is not valid: use 1 to 64 of a-z 0-9 - _ (the first a letter or digit)"
        )
    return value


def new_id(prefix: str) -> str:
    """A fresh id that sorts by time: ``<prefix>-20260131-235959-1a2b3c``."""
    return check_id("new", f"{prefix}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")


def now() -> str:
    """The current time, ISO 8601 in UTC with microseconds (sorts as text)."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Store:
    """A folder of plain files. Nothing is created before the first write.

    ``root``: the folder; ``None`` takes the environment's ``ARTIFACTS_ROOT``, else ``./artifacts``.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        if root is None:
            root = os.environ.get("ARTIFACTS_ROOT") or "artifacts"
        text = os.fspath(root)
        if not text or "\0" in text:
            raise FastweightsError(f"root {text!r} is not a folder name: give --root DIR or set ARTIFACTS_ROOT")
        self.root = Path(text).expanduser().resolve()
        self.listed: dict[str, Any] = {}
        """What this process listed last, by folder: a cache of :func:`fastweights.store.index.cached_records`."""
        if self.root.exists() and not self.root.is_dir():
            raise FastweightsError(f"root {str(self.root)!r} is a file: give a folder with --root or ARTIFACTS_ROOT")

    def path(self, *parts: str) -> Path:
        """``root/part/part/...``, checked: every part is an id (the last may be a file name), none is a symlink.

        Raises :class:`FastweightsError` for any other part, so that no id from outside leaves the root.
        """
        if not parts:
            return self.root
        for part in parts[:-1]:
            check_id("path", part)
        last = parts[-1]
        if not (isinstance(last, str) and _FILE.fullmatch(last)):
            check_id("path", last)
        path = self.root
        for part in parts:
            path = path / part
            refuse_symlink(path)
        return path

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"


def refuse_symlink(path: Path) -> None:
    """Raises if ``path`` is a symbolic link: the store follows none, whatever it points to."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise FastweightsError(f"{str(path)!r} is a symbolic link: a store follows none; replace it by the real file")
