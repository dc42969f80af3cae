"""One writer at a time, across threads and processes; the one who is refused learns who holds it. Torch-free."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from fastweights.errors import Conflict
from fastweights.store.root import now


def process_alive(pid: object, create_time: object) -> bool:
    """Whether that very process runs: the pid alone may have been given to another one since."""
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or not isinstance(create_time, (int, float)):
        return False
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - create_time) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class Locks:
    """Named file locks; one that this thread holds may be taken again."""

    def __init__(self) -> None:
        self._locks: dict[str, FileLock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def hold(self, path: Path, what: str, doing: str, timeout: float = 0) -> Iterator[None]:
        """Holds the lock file ``path`` (its folder must exist); :class:`Conflict` names the holder of a busy one."""
        with self._guard:
            lock = self._locks.setdefault(str(path), FileLock(path, thread_local=True))
        again = lock.is_locked
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise Conflict(f"{what} is busy ({holder(path)}): wait until it is done, then try again") from None
        try:
            if not again:
                _write_holder(path, doing)
            yield
        finally:
            try:
                if not again:
                    with suppress(OSError):
                        os.truncate(path, 0)
            finally:
                lock.release()


def _write_holder(path: Path, doing: str) -> None:
    me = psutil.Process()
    info = {"pid": me.pid, "create_time": me.create_time(), "doing": doing, "since": now()}
    data = json.dumps(info).encode()
    with open(path, "r+b", buffering=0) as file:  # in place: the lock sits on this very inode
        file.write(data)
        file.truncate(len(data))


def read_holder(path: Path) -> dict[str, Any] | None:
    """What the last holder wrote, or None (released in order, or never held)."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return info if isinstance(info, dict) else None


def holder(path: Path) -> str:
    """A phrase for people: who holds the lock at ``path``."""
    info = read_holder(path)
    if not info or not process_alive(info.get("pid"), info.get("create_time")):
        return "held by another process"
    mine = " (this server)" if info["pid"] == os.getpid() else ""
    return f"held by pid {info['pid']}{mine}, {info.get('doing') or 'writing'} since {info.get('since')}"
