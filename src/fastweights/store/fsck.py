"""Checks every file of a store against what vouches for it; repairs what can be derived again. Torch-free."""

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.store import atomic, refs, tensors
from fastweights.store.commits import Commit
from fastweights.store.index import INDEX, folder_ids
from fastweights.store.locks import Locks, process_alive, read_holder
from fastweights.store.meta import Meta
from fastweights.store.models import CHECKPOINT, MANIFEST, Models
from fastweights.store.objects import sha256
from fastweights.store.rebuild import commits_by_session, rebuild_meta, was_whole
from fastweights.store.redteam_runs import REDTEAM, check_redteam
from fastweights.store.root import MODELS, OBJECTS, TEXT_RUNS, Store
from fastweights.store.runs import Runs, check_run
from fastweights.store.sessions import LOCK, META, Sessions
from fastweights.store.views import LAYOUTS, files_of

Level = Literal["error", "warning", "note"]
GRACE_SECONDS = 3600.0
"""Unreferenced objects younger than this may belong to a commit under way; garbage collection leaves them."""


@dataclass
class Finding:
    """``error``: data is damaged or missing. ``warning``: something derived is wrong; ``--repair`` mends it. ``note``:
    harmless leftovers of a crash. ``path`` is relative to the root."""

    level: Level
    path: str
    problem: str
    repaired: bool = False


@dataclass
class Report:
    root: str
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=lambda: {"objects": 0, "sessions": 0, "models": 0, "runs": 0})
    collected: int = 0
    collected_bytes: int = 0

    @property
    def ok(self) -> bool:
        """No error and no warning is left."""
        return all(f.repaired or f.level == "note" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}


def fsck(store: Store, *, repair: bool = False, gc: bool = False, grace_s: float = GRACE_SECONDS) -> Report:
    """Checks; with ``repair`` mends what it can, with ``gc`` deletes unreferenced objects older than ``grace_s``."""
    report = Report(root=str(store.root))
    if store.root.is_dir():
        _Checker(store, report, repair).run(gc, grace_s)
    return report


class _Checker:
    def __init__(self, store: Store, report: Report, repair: bool) -> None:
        self.store, self.report, self.repair = store, report, repair
        self.damaged: set[str] = set()  # objects
        self.used: set[str] = set()
        self.unknown_use = False  # a head could not be read: its objects look unused
        self.by_session: dict[str, list[Commit]] | None = None
        self.locks = Locks()

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
        for name in folder_ids(self.store, REDTEAM):
            self._guarded(f"{REDTEAM}/{name}", lambda name=name: self._redteam(name))
        self._orphans(gc, grace_s)

    # ------------------------------------------------------------ helpers

    def _found(self, level: Level, path: Path | str, problem: str, mend: Callable[[], object] | None = None) -> None:
        where = str(path.relative_to(self.store.root)) if isinstance(path, Path) else path
        finding = Finding(level, where, problem.replace(str(self.store.root) + os.sep, ""))
        if self.repair and mend is not None:
            try:
                mend()
                finding.repaired = True
            except (FastweightsError, OSError) as error:
                finding.problem += f"; not repaired: {error}"
        self.report.findings.append(finding)

    def _guarded(self, where: str, check: Callable[[], object]) -> None:
        try:
            check()
        except (FastweightsError, OSError) as error:
            self._found("error", where, str(error))

    # ------------------------------------------------------------ the checks

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

    def _session(self, sessions: Sessions, name: str) -> None:
        self.report.checked["sessions"] += 1
        folder, lock = sessions.path(name), sessions.path(name, LOCK)
        if not sessions.path(name, META).exists() and not was_whole(sessions, name, self._own(sessions, name)):
            self.report.checked["sessions"] -= 1
            if not self._busy(lock):
                self._found("note", folder, "no meta.json: creating it was cut off", lambda: shutil.rmtree(folder))
            return
        self._stale_lock(lock)
        lost = False
        try:
            meta = sessions.meta(name)
        except FastweightsError as error:
            if (restored := self._restore(sessions, name, error)) is None:
                self.unknown_use = True
                return
            meta, lost = restored, not self.report.findings[-1].repaired
        whole = True
        seen: set[str] = set()
        for start in refs.tips(meta):
            whole &= self._chain(sessions, name, start, meta.root, seen)
        if not whole or lost or self._busy(lock):
            return
        head = sessions.read(meta.head)
        if meta.turns != head.turn or meta.state_bytes != sessions.objects.size(head.state):
            self._found(
                "warning",
                folder / META,
                f"says {meta.turns} turns, its head says {head.turn}",
                lambda: sessions.rebuild_views(name),
            )
        path = [*sessions.history(head.id)][::-1]
        wanted = sessions.layout.state_views(sessions.state(head)) | sessions.layout.jsonl_bytes(path)
        wrong = [file for file, data in wanted.items() if _bytes(sessions.path(name, file)) != data]
        for file, sha in files_of(path).items():
            if _sha_of(sessions.path(name, *file.split("/"))) != sha:
                wrong.append(file)
        if wrong or meta.views is None:
            what = ", ".join(wrong) or "views"
            self._found(
                "warning", folder, f"{what} disagree with the head {head.id[:12]}", lambda: sessions.rebuild_views(name)
            )

    def _restore(self, sessions: Sessions, name: str, error: FastweightsError) -> Meta | None:
        """What meta.json must have said; with ``repair`` it is written. None if that cannot be told."""
        path = sessions.path(name, META)
        try:
            meta, source = rebuild_meta(sessions, name, self._own(sessions, name))
        except FastweightsError as why:
            self._found("error", path.parent, f"{error}; not rebuilt: {why}")
            return None
        what = f"{error}; can be rebuilt: head {meta.head[:12]} is {source}"
        self._found("warning", path.parent, what, lambda: sessions.restore(meta))
        return sessions.meta(name) if self.report.findings[-1].repaired else meta

    def _own(self, sessions: Sessions, name: str) -> list[Commit]:
        """The commits that the session made; looked for among all objects, once, and only where a record is missing."""
        if self.by_session is None:
            self.by_session = commits_by_session(sessions)
        return self.by_session.get(name, [])

    def _chain(self, sessions: Sessions, name: str, start: str, root: str, seen: set[str]) -> bool:
        """Whether every commit from ``start`` to the root, every state and file, is whole; marks them as used."""
        newest_whole: str | None = None
        bad: list[str] = []
        resets: list[str] = []
        last = start
        try:
            for commit in sessions.history(start):
                last = commit.id
                if last in seen:
                    last = root  # from here on it was looked at before
                    break
                seen.add(last)
                lost = self._lost(sessions, commit)
                bad += [f"{what} of turn {commit.turn} ({commit.id[:12]}) is missing or damaged" for what in lost]
                if not lost and newest_whole is None:
                    newest_whole = commit.id
                if commit.to is not None:
                    resets.append(commit.to)
            if last != root:
                bad.append(f"the history ends at {last[:12]}, not at the initial commit {root[:12]}")
        except FastweightsError as error:
            self.unknown_use = True
            bad.append(str(error))
        for problem in bad:
            hint = f"; newest whole commit: {newest_whole}" if newest_whole else ""
            self._found("error", f"{sessions.folder}/{name}", problem + hint)
        return all([not bad, *(self._chain(sessions, name, to, root, seen) for to in resets if to not in seen)])

    def _lost(self, sessions: Sessions, commit: Commit) -> list[str]:
        """What the commit refers to and cannot be read; marks all of it as used."""
        needed = {commit.state: f"state {commit.state[:12]}"} | {sha: f"file {f}" for f, sha in commit.files.items()}
        self.used |= {commit.id, *needed}
        return [what for sha, what in needed.items() if sha in self.damaged or not sessions.objects.has(sha)]

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
            if (folder / file).exists() or manifest["status"] in ("ready", "sleep_candidate"):
                self._guarded(where, lambda file=file: atomic.read_json(folder / file))
        running = _held(folder / "train.lock")
        if not running:  # else a row may be half written, and old checkpoints are dropped, under our eyes
            self._stale_lock(folder / "train.lock")
            for file in sorted(folder.glob("*.jsonl")):
                self._jsonl(file)
            for sidecar in sorted((folder / "ckpt").glob("step-*.json")):
                expected = atomic.read_json(sidecar).get("sha256")
                self._guarded(where, lambda s=sidecar, e=expected: _check_tensors(s.with_suffix(".safetensors"), e))
        wanted = manifest.get("checkpoint_sha256")
        if (folder / CHECKPOINT).exists() or manifest["status"] in ("ready", "sleep_candidate"):
            self._guarded(where, lambda: _check_tensors(folder / CHECKPOINT, wanted))
        self._job(models, folder, manifest)

    def _run(self, name: str) -> None:
        """A monitor run: its records parse; one whose process is gone is noted as interrupted."""
        self.report.checked["runs"] += 1
        if cut_off := check_run(Runs(self.store), name):
            self._found("note", f"{TEXT_RUNS}/{name}", *cut_off)

    def _redteam(self, name: str) -> None:
        self.report.checked["runs"] += 1
        for level, path, problem in check_redteam(self.store, name):
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

    def _busy(self, lock: Path) -> bool:
        if not lock.exists():
            return False
        try:
            with self.locks.hold(lock, "", "fsck"):
                return False
        except Conflict:
            return True

    def _stale_lock(self, lock: Path) -> None:
        info = read_holder(lock)
        if info and not process_alive(info.get("pid"), info.get("create_time")):
            self._found(
                "note",
                lock,
                f"its holder, process {info.get('pid')}, is gone (the lock itself is free)",
                lambda: self._busy(lock),
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


def _sha_of(path: Path) -> str | None:
    data = _bytes(path)
    return None if data is None else sha256(data)


def _bytes(path: Path) -> bytes | None:
    try:
        return atomic.read_bytes(path)
    except NotFound:
        return None


def _check_tensors(path: Path, sha: str | None) -> None:
    data = atomic.read_bytes(path)
    tensors.unpack(data, repr(str(path)))
    if sha is not None and (found := sha256(data)) != sha:
        raise FastweightsError(
            f"{str(path)!r} has SHA-256 {found[:12]}…, its record says {str(sha)[:12]}…: restore it from a backup"
        )
