"""Work as a process of its own, which outlives the server: what training runs and red team runs share. Torch-free."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fastweights.errors import NotFound
from fastweights.store import atomic

JOB, STDOUT, STDERR = "job.json", "stdout.log", "stderr.log"
_IN_ORDER = (0, 130, 143, -signal.SIGTERM, -signal.SIGINT, None)  # None: not seen by this server


def spawn(folder: Path, arguments: Sequence[str], record: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Starts ``fastweights ARGUMENTS`` and writes ``job.json``: the record, and who does it (pid and creation time)."""
    atomic.ensure_dir(folder)
    command = [sys.executable, "-m", "fastweights", *arguments]
    with open(folder / STDOUT, "wb") as out, open(folder / STDERR, "wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, close_fds=True
        )
    who = {"pid": process.pid, "create_time": psutil.Process(process.pid).create_time(), "command": command}
    atomic.write_json(folder / JOB, {**record, **who, "cancelled": False, "returncode": None})
    return process


def read_record(path: Path) -> dict[str, Any]:
    """A JSON file; an empty record where there is none."""
    try:
        return atomic.read_json(path)
    except NotFound:
        return {}


def complaint(folder: Path, returncode: int | None) -> str | None:
    """What a process that did not end in order had to say."""
    if returncode in _IN_ORDER:
        return None
    assert returncode is not None
    return last_line(folder / STDERR) if returncode > 0 else f"the process was killed by signal {-returncode}"


def kill_after(process: psutil.Process, grace_s: float) -> None:
    """psutil compares pid and creation time, so a reused pid is never hit."""
    with suppress(psutil.NoSuchProcess):
        try:
            process.wait(grace_s)
        except psutil.TimeoutExpired:
            process.kill()


def last_line(path: Path) -> str | None:
    """The last line that says something (a process' error is its last line on standard error)."""
    lines = [line for line in tail(path).decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip().removeprefix("error: ")[:500] if lines else None


def tail(path: Path, size: int = 8192) -> bytes:
    """The last bytes of a file; none where there is no file."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read()
    except OSError:
        return b""
