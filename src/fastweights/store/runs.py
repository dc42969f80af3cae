"""Monitor runs: ``text_runs/<id>/{meta.json, request.json, summary.json, events.json, input.txt}``. Torch-free.

While a run goes on its events are lines of ``events.jsonl``; when it ends they become ``events.json`` (a JSON array
with one event a line), then ``summary.json``, then ``meta.json`` says so. Readers never wait for a writer, and a run
whose process is gone shows as interrupted. ``input.txt`` holds the first :data:`KEPT_BYTES` of what was read;
``meta.json`` has length and SHA-256 of all of it.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson
import psutil

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.index import cached_records
from fastweights.store.locks import process_alive
from fastweights.store.root import TEXT_RUNS, Store, check_id, new_id, now

META, REQUEST, SUMMARY, EVENTS, LIVE, INPUT = (
    "meta.json",
    "request.json",
    "summary.json",
    "events.json",
    "events.jsonl",
    "input.txt",
)
STATUSES = ("running", "done", "failed", "cancelled", "interrupted")
KEPT_BYTES = 1 << 20
_FLUSH_SECONDS = 0.2
_READ = 1 << 16


class Runs:
    """The monitor runs of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    # ------------------------------------------------------------ reading

    def path(self, run_id: str, *file: str) -> Path:
        return self.store.path(TEXT_RUNS, check_id("run", run_id), *file)

    def get(self, run_id: str) -> dict[str, Any]:
        """``meta.json`` with ``request`` and ``summary`` (None until the end); :class:`NotFound` if there is none."""
        try:
            return _settled(_read(self.path(run_id, META)))
        except NotFound:
            raise NotFound(
                f"no run {run_id!r}: GET /api/text/runs lists them, `fastweights monitor` makes one"
            ) from None

    def list(self) -> list[dict[str, Any]]:
        """Every whole run, newest first; a damaged one is left out (``fsck`` names it)."""
        records, _ = cached_records(self.store, TEXT_RUNS, META, _read)
        return sorted(map(_settled, records.values()), key=lambda r: (r["created_at"], r["id"]), reverse=True)

    def events(self, run_id: str) -> Iterator[dict[str, Any]]:
        """The events so far, oldest first, in constant memory."""
        yield from map(orjson.loads, self.lines(run_id))

    def lines(self, run_id: str) -> Iterator[bytes]:
        """The same as lines of JSON."""
        follower = self.follow(run_id)
        with follower:
            while lines := follower.poll():
                yield from lines

    def follow(self, run_id: str) -> "Follower":
        """Reads a run's events from the first on, also while they are being written."""
        return Follower(self, run_id)

    # ------------------------------------------------------------ writing

    def create(
        self, source: str, request: Mapping[str, Any], *, run_id: str | None = None, **about: Any
    ) -> "RunWriter":
        """A run that this process writes from now on. ``about`` are further fields of ``meta.json``."""
        run_id = check_id("run", run_id) if run_id else new_id("run")
        folder = self.path(run_id)
        if folder.exists():
            raise Conflict(f"run {run_id!r} exists: choose another id")
        atomic.ensure_dir(folder)
        atomic.write_json(folder / REQUEST, dict(request))
        process = psutil.Process()
        meta = {
            **about,
            "id": run_id,
            "status": "running",
            "source": source,
            "pid": process.pid,
            "create_time": process.create_time(),
            "input_bytes": 0,
            "input_sha256": None,
            "input_kept_bytes": 0,
            "error": None,
            "created_at": now(),
            "updated_at": now(),
        }
        atomic.write_json(folder / META, meta)
        return RunWriter(folder, meta)


class RunWriter:
    """The one writer of a run. Nothing of it is acknowledged before :meth:`finish`; until then no fsync is paid."""

    def __init__(self, folder: Path, meta: dict[str, Any]) -> None:
        self.folder, self.meta = folder, meta
        self._events = open(folder / LIVE, "xb")  # noqa: SIM115  (closed by finish)
        self._input = open(folder / INPUT, "xb")  # noqa: SIM115
        self._digest = hashlib.sha256()
        self._bytes = self._kept = 0
        self._flushed = time.monotonic()

    @property
    def run_id(self) -> str:
        return self.meta["id"]

    def take(self, block: bytes) -> None:
        """A block of the input."""
        self._digest.update(block)
        self._bytes += len(block)
        if self._kept < KEPT_BYTES:
            self._kept += self._input.write(block[: KEPT_BYTES - self._kept])

    def event(self, line: bytes) -> None:
        """One event as JSON; readers see it within 0.2 s of the next one, or at :meth:`flush`."""
        self._events.write(line + b"\n")
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Readers see everything so far."""
        self._events.flush()
        self._flushed = time.monotonic()

    def finish(self, status: str, summary: Mapping[str, Any] | None, error: str | None = None) -> None:
        """The run is over; durable when this returns."""
        self._input.flush()
        os.fsync(self._input.fileno())
        self._input.close()
        self._events.close()
        _to_array(self.folder)
        if summary is not None:
            atomic.write_json(self.folder / SUMMARY, dict(summary))
        self.meta |= {
            "status": status,
            "error": error,
            "input_bytes": self._bytes,
            "input_sha256": self._digest.hexdigest(),
            "input_kept_bytes": self._kept,
            "updated_at": now(),
        }
        atomic.write_json(self.folder / META, self.meta)
        with suppress(OSError):  # a reader on Windows may have it open
            (self.folder / LIVE).unlink()


class Follower:
    """A place in a run's events. What is appended later comes with a later :meth:`poll`."""

    def __init__(self, runs: Runs, run_id: str) -> None:
        runs.get(run_id)
        self._paths = [runs.path(run_id, EVENTS), runs.path(run_id, LIVE)]
        self._file: IO[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def poll(self) -> list[bytes]:
        """Some of the events not given yet, oldest first; none: there is no later one for now.

        The open file goes on being whole when the run ends, so no event is lost or given twice.
        """
        if self._file is None:
            self._file = self._open()
        lines: list[bytes] = []
        while self._file is not None and not lines:
            block = self._file.read(_READ)
            if not block:
                break
            *whole, self._rest = (self._rest + block).split(b"\n")
            lines = [line.rstrip(b",") for line in whole if line not in (b"[", b"]", b"[]")]
        return lines

    def _open(self) -> IO[bytes] | None:
        for path in (*self._paths, self._paths[0]):  # once more: the run may have ended in between
            with suppress(FileNotFoundError):
                return open(path, "rb")
        return None


def _to_array(folder: Path) -> None:
    """``events.jsonl`` -> ``events.json``, line by line."""
    temp = folder / f"{atomic.TMP}{os.getpid()}-events"
    with open(folder / LIVE, "rb") as lines, open(temp, "wb") as array:
        array.write(b"[")
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                break  # torn
            array.write((b",\n" if number else b"\n") + line[:-1])
        array.write(b"\n]\n")
        array.flush()
        os.fsync(array.fileno())
    os.replace(temp, folder / EVENTS)


def _read(path: Path) -> dict[str, Any]:
    meta = atomic.read_json(path)
    folder = path.parent
    for name in ("id", "status", "created_at", "source"):
        if not isinstance(meta.get(name), str):
            raise Corrupt(f"{str(path)!r} has no {name!r}: restore it from a backup, or delete the run")
    if meta["id"] != folder.name or meta["status"] not in STATUSES:
        raise Corrupt(f"{str(path)!r} says id {meta['id']!r}, status {meta['status']!r}: restore it from a backup")
    summary = atomic.read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None
    return {**meta, "request": atomic.read_json(folder / REQUEST), "summary": summary}


def _settled(record: dict[str, Any]) -> dict[str, Any]:
    """A run that says it is running, but whose process is gone, was interrupted."""
    if record["status"] == "running" and not process_alive(record.get("pid"), record.get("create_time")):
        return {**record, "status": "interrupted", "error": "its process ended before the run did"}
    return record


def check_run(runs: Runs, run_id: str) -> tuple[str, Any] | None:
    """For ``fsck``: raises FastweightsError for damage; (problem, function that mends it) for a run cut off."""
    folder = runs.path(run_id)
    if not (folder / META).exists():
        return (
            "no meta.json: creating it was cut off",
            lambda: [p.unlink() for p in folder.iterdir()] and folder.rmdir(),
        )
    record = runs.get(run_id)
    for number, line in enumerate(runs.lines(run_id), 1):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise FastweightsError(f"event {number} of run {run_id!r} is not JSON: {error}") from None
    if record["status"] != "interrupted" or atomic.read_json(folder / META)["status"] == "interrupted":
        return None

    def mend() -> None:
        if (folder / LIVE).exists():
            _to_array(folder)
        meta = {**atomic.read_json(folder / META), "status": "interrupted", "error": record["error"]}
        atomic.write_json(folder / META, meta)
        (folder / LIVE).unlink(missing_ok=True)

    return "its process is gone: interrupted", mend
