"""Checks every file of a store against what vouches for it; repairs what can be derived again. Torch-free."""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from fastweights.errors import FastweightsError
from fastweights.store import atomic, tensors
from fastweights.store.fsck_base import Level, Report
from fastweights.store.fsck_sessions import SessionChecks
from fastweights.store.index import INDEX, folder_ids
from fastweights.store.locks import process_alive, read_holder
from fastweights.store.models import CHECKPOINT, MANIFEST, WHOLE, Models
from fastweights.store.nano_files import BASE, NANO_RUNS, check_base, check_nano_run
from fastweights.store.objects import sha256
from fastweights.store.redteam_runs import REDTEAM, check_redteam
from fastweights.store.root import MODELS, OBJECTS, TEXT_RUNS, Store
from fastweights.store.runs import Runs, check_run
from fastweights.store.sessions import Sessions
from fastweights.store.sleep_files import SLEEP, check_candidate, check_sleep_job
from fastweights.store.streams import STREAMS, check_stream
from fastweights.store.views import LAYOUTS

FileCheck = Callable[[Store, str], Iterable[tuple[Level, Path, str]]]
GRACE_SECONDS = 3600.0
"""Unreferenced objects younger than this may belong to a commit under way; garbage collection leaves them."""


def fsck(store: Store, *, repair: bool = False, gc: bool = False, grace_s: float = GRACE_SECONDS) -> Report:
    """Checks; with ``repair`` mends what it can, with ``gc`` deletes unreferenced objects older than ``grace_s``."""
    report = Report(root=str(store.root))
    if store.root.is_dir():
        _Checker(store, report, repair).run(gc, grace_s)
    return report


class _Checker(SessionChecks):
    def run(self, gc: bool, grace_s: float) -> None:
        self._tree()
        self._objects()
        for kind, layout in LAYOUTS.items():
            folder, sessions = layout.folder, Sessions(self.store, kind)
            self._index(folder)
            for name in folder_ids(self.store, folder):
                self._guarded(f"{folder}/{name}", lambda name=name, sessions=sessions: self._session(sessions, name))
        self._index(MODELS)
        for name in folder_ids(self.store, MODELS):
            self._guarded(f"{MODELS}/{name}", lambda name=name: self._model(name))
        self._index(TEXT_RUNS)
        for name in folder_ids(self.store, TEXT_RUNS):
            self._guarded(f"{TEXT_RUNS}/{name}", lambda name=name: self._run(name))
        self._index(NANO_RUNS)
        plain: tuple[tuple[str, FileCheck], ...] = (
            (REDTEAM, check_redteam),
            (BASE, check_base),
            (NANO_RUNS, check_nano_run),
            (STREAMS, check_stream),
            (SLEEP, check_sleep_job),
        )
        for folder, check in plain:
            for name in folder_ids(self.store, folder):
                self._guarded(f"{folder}/{name}", lambda f=folder, n=name, c=check: self._plain(f, n, c))
        self._orphans(gc, grace_s)

    def _tree(self) -> None:
        """Symbolic links anywhere; temporary files and folders of processes that are gone."""
        for folder, names, files in os.walk(self.store.root, followlinks=False):
            for name in [*names, *files]:
                path = Path(folder, name)
                if path.is_symlink():
                    self._found("error", path, "symbolic link: a store follows none; replace it by the real file")
                elif name.startswith(atomic.TMP) and not _writer_alive(name):
                    mend = (lambda p=path: shutil.rmtree(p)) if path.is_dir() else path.unlink
                    self._found("note", path, "left behind by a write that was cut off", mend)

    def _objects(self) -> None:
        objects = Sessions(self.store).objects
        for sha in objects:
            self.report.checked["objects"] += 1
            try:
                objects.get(sha)
            except FastweightsError:
                self.damaged.add(sha)

    def _index(self, folder: str) -> None:
        path = self.store.path(folder, INDEX)
        if path.exists():
            try:
                atomic.read_json(path)
            except FastweightsError as error:
                self._found("warning", path, str(error), path.unlink)

    def _model(self, name: str) -> None:
        where, folder = f"{MODELS}/{name}", self.store.path(MODELS, name)
        lock = self.store.path(MODELS, name, "model.lock")
        if not self.store.path(MODELS, name, MANIFEST).exists():
            if not self._busy(lock) and not (folder / "ckpt").exists() and not (folder / "job.json").exists():
                self._found("note", folder, "no manifest.json: creating it was cut off", lambda: shutil.rmtree(folder))
            return
        self.report.checked["models"] += 1
        self._stale_lock(lock)
        models = Models(self.store)
        manifest = models.get(name)
        for file in ("config.json", "tokenizer.json"):
            if (folder / file).exists() or manifest["status"] in WHOLE:
                self._guarded(where, lambda file=file: atomic.read_json(folder / file))
        running = _held(folder / "train.lock")
        if not running:  # else a row may be half written, and old checkpoints are dropped, under our eyes
            self._stale_lock(folder / "train.lock")
            for file in sorted(folder.glob("*.jsonl")):
                self._jsonl(file)
            for sidecar in sorted((folder / "ckpt").glob("step-*.json")):
                expected = atomic.read_json(sidecar).get("sha256")
                self._guarded(where, lambda s=sidecar, e=expected: _check_tensors(s.with_suffix(".safetensors"), e))
        for level, path, problem in check_candidate(folder, manifest):
            self._found(level, path, problem)
        wanted = manifest.get("checkpoint_sha256")
        if (folder / CHECKPOINT).exists() or manifest["status"] in WHOLE:
            self._guarded(where, lambda: _check_tensors(folder / CHECKPOINT, wanted))
        self._job(models, folder, manifest)

    def _run(self, name: str) -> None:
        """A monitor run: its records parse; one whose process is gone is noted as interrupted."""
        self.report.checked["runs"] += 1
        if cut_off := check_run(Runs(self.store), name):
            self._found("note", f"{TEXT_RUNS}/{name}", *cut_off)

    def _plain(self, folder: str, name: str, check: FileCheck) -> None:
        """A folder of files without objects: a red-team run, a base model, a run of Nano, a stream's report."""
        self.report.checked["models" if folder == BASE else "runs"] += 1
        for level, path, problem in check(self.store, name):
            self._found(level, path, problem)

    def _jsonl(self, path: Path) -> None:
        data = atomic.read_bytes(path)
        if data and not data.endswith(b"\n"):
            self._found(
                "warning",
                path,
                "its last line is torn (a write was cut off)",
                lambda: atomic.append_jsonl(path, []) and None,
            )
        for number, line in enumerate(data.split(b"\n")[:-1], 1):
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError as error:
                self._found("error", path, f"line {number} is not JSON: {error}")
                break

    def _job(self, models: Models, folder: Path, manifest: dict[str, Any]) -> None:
        """A training process that is gone without having said how it ended."""
        if manifest["status"] != "training" or not (folder / "job.json").exists():
            return
        job = atomic.read_json(folder / "job.json")
        if not process_alive(job.get("pid"), job.get("create_time")):
            mend = lambda: models.update(manifest["id"], status="interrupted")  # noqa: E731
            self._found(
                "warning",
                folder / "job.json",
                f"training process {job.get('pid')} is gone: interrupted, can be resumed",
                mend,
            )

    def _orphans(self, gc: bool, grace_s: float) -> None:
        objects = Sessions(self.store).objects
        unused = [sha for sha in objects if sha not in self.used]
        for sha in sorted(self.damaged):
            if sha in self.used:
                continue  # named with its session
            self._found(
                "warning",
                objects.path(sha),
                "content does not match its name; nothing refers to it",
                objects.path(sha).unlink,
            )
        unused = [sha for sha in unused if sha not in self.damaged]
        if not unused:
            return
        if gc and self.unknown_use:
            self._found(
                "error", OBJECTS, "some session cannot be read, so what it uses is not known: nothing was collected"
            )
            return
        if gc:
            for sha in unused:
                path = objects.path(sha)
                with suppress(FileNotFoundError):
                    at = path.stat()
                    if time.time() - at.st_mtime >= grace_s:
                        path.unlink()
                        self.report.collected += 1
                        self.report.collected_bytes += at.st_size
        left = len(unused) - self.report.collected
        if left:
            hint = f"younger than {grace_s:.0f} s, kept" if gc else "`fastweights fsck --gc` deletes them"
            self._found("note", OBJECTS, f"{left} objects that no session refers to ({hint})")


def _writer_alive(name: str) -> bool:
    match = re.match(rf"{re.escape(atomic.TMP)}(\d+)-", name)
    if match is None:
        return False
    try:
        os.kill(int(match.group(1)), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _held(lock: Path) -> bool:
    info = read_holder(lock) or {}
    return process_alive(info.get("pid"), info.get("create_time"))


def _check_tensors(path: Path, sha: str | None) -> None:
    data = atomic.read_bytes(path)
    tensors.unpack(data, repr(str(path)))
    if sha is not None and (found := sha256(data)) != sha:
        raise FastweightsError(
            f"{str(path)!r} has SHA-256 {found[:12]}…, its record says {str(sha)[:12]}…: restore it from a backup"
        )
