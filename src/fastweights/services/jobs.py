"""Training runs as processes of their own: they outlive the server, and every status is derived from what is on disk.

A run is its model's folder: ``job.json`` (who runs it: pid and process creation time), ``stdout.log``, ``stderr.log``,
``train_log.jsonl`` and the manifest, which the trainer writes. Runs begun on the command line have no ``job.json``; the
holder of their ``train.lock`` says whether they live. Torch-free.
"""

import subprocess
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import orjson
import psutil
from pydantic import ValidationError

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.services import catalog
from fastweights.services.processes import JOB, STDERR, complaint, kill_after, last_line, read_record, spawn, tail
from fastweights.services.records import ModelInfo, TrainJob, TrainPoint, TrainRequest
from fastweights.store import atomic
from fastweights.store.index import folder_ids
from fastweights.store.locks import Locks, process_alive, read_holder
from fastweights.store.models import MANIFEST, WHOLE, Models, ckpt_dir, read_manifest
from fastweights.store.root import MODELS, Store, check_id, new_id, now

MAX_RUNNING = 2
GRACE_SECONDS = 30.0
LOG = "train_log.jsonl"


class TrainJobs:
    """The training runs of a store. ``grace_s``: how long a cancelled run may take before it is killed."""

    def __init__(self, store: Store, *, grace_s: float = GRACE_SECONDS) -> None:
        self.store, self.grace_s = store, grace_s
        self._models = Models(store)
        self._locks = Locks()
        self._watched: set[str] = set()
        self._guard = threading.Lock()

    # ------------------------------------------------------------ look

    def list(self) -> "list[TrainJob]":
        """Every run, newest first."""
        jobs = []
        for name in folder_ids(self.store, MODELS):
            with suppress(FastweightsError):  # a damaged one is fsck's business, not a reason to show none
                jobs.append(self.status(name))
        return sorted(jobs, key=lambda job: (job.created_at, job.model_id), reverse=True)

    def status(self, model_id: str) -> TrainJob:
        """How a run stands; :class:`NotFound` for a model that was not trained here."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        job, manifest = read_record(folder / JOB), _read_manifest(folder)
        if not job and not (manifest and (folder / LOG).exists()) and manifest.get("status") != "training":
            raise NotFound(f"no training run {model_id!r}: POST /api/text/train or `fastweights train` starts one")
        alive = self._pid(folder, job) is not None
        status, error = _derive(folder, job, manifest, alive)
        last = _last_point(folder / LOG)
        request = job.get("request") or {}
        checkpoints = ckpt_dir(folder, manifest)
        return TrainJob(
            model_id=model_id,
            status=status,
            preset=manifest.get("preset") or request.get("preset"),
            step=max(manifest.get("step", 0), last.step if last else 0),  # the last row, or checkpoint, is ahead
            steps=(request.get("steps") if alive else None) or manifest.get("steps") or job.get("steps") or 0,
            pid=self._pid(folder, job),
            resumable=status in ("interrupted", "cancelled", "failed") and any(checkpoints.glob("step-*.json")),
            error=error,
            created_at=manifest.get("created_at") or job.get("started_at") or now(),
            updated_at=_updated_at(folder),
            last=last,
        )

    def metrics(self, model_id: str, after_step: int = -1) -> "list[TrainPoint]":
        """The rows of the log with a step above ``after_step``."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        if not folder.is_dir():
            self._models.path(model_id)  # the shipped starter, or NotFound
            folder = self._models.path(model_id)
        points = (_point(row) for row in atomic.read_jsonl(folder / LOG))
        return [point for point in points if point is not None and point.step > after_step]

    def settled(self, info: ModelInfo) -> ModelInfo:
        """The same, but "training" only while a process trains it (a run that died could not say so itself)."""
        if info.status not in ("training", "interrupted") or self._alive(info.model_id):
            return info
        cancelled = read_record(self.store.path(MODELS, info.model_id, JOB)).get("cancelled")
        return info.model_copy(update={"status": "cancelled" if cancelled else "interrupted"})

    # ------------------------------------------------------------ change

    def start(self, request: TrainRequest) -> TrainJob:
        """Starts a run as its own process. Conflict: too many, the id is taken, nothing to resume."""
        arguments = self._check_resume(request) if request.resume else _check_new(request)
        model_id = request.resume or request.model_id or new_id(request.preset)
        if not request.resume:
            self._models.check_free(model_id)
        folder = self.store.path(MODELS, check_id("model", model_id))
        atomic.ensure_dir(self.store.path(MODELS))
        with (
            self._guard,
            self._locks.hold(self.store.path(MODELS, "jobs.lock"), "the list of jobs", "starting one", 10),
        ):
            running = [name for name in folder_ids(self.store, MODELS) if self._alive(name)]
            if model_id in running:
                raise Conflict(f"model {model_id!r} is being trained: wait, or cancel it first")
            if not request.resume and folder.exists() and any(folder.iterdir()):
                raise Conflict(f"model {model_id!r} exists: choose another model_id, or resume it")
            if len(running) >= MAX_RUNNING:
                raise Conflict(f"{len(running)} runs are going on ({', '.join(running)}): wait for one, or cancel it")
            if not request.resume:
                arguments.append(f"--model-id={model_id}")
            self._spawn(model_id, folder, request, arguments)
        return self.status(model_id)

    def cancel(self, model_id: str) -> TrainJob:
        """Asks a run to stop after its step at hand (SIGTERM); one that does not within the grace time is killed."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        job = self.status(model_id)
        if job.pid is None:
            raise Conflict(f"run {model_id!r} is not going on (status {job.status}): there is nothing to cancel")
        record = read_record(folder / JOB)
        if record:
            atomic.write_json(folder / JOB, {**record, "cancelled": True})
        process = psutil.Process(job.pid)
        with suppress(psutil.NoSuchProcess):
            process.terminate()
        threading.Thread(target=kill_after, args=(process, self.grace_s), daemon=True).start()
        return self.status(model_id)

    def adopt(self) -> None:
        """After a restart of the server: watch the runs that go on, settle those that ended unseen."""
        for name in folder_ids(self.store, MODELS):
            folder = self.store.path(MODELS, name)
            with suppress(FastweightsError, OSError):
                if (folder / JOB).exists():
                    self._watch(name, None) if self._alive(name) else self._settle(name, None)

    # ------------------------------------------------------------ inside

    def _check_resume(self, request: TrainRequest) -> "list[str]":
        given = request.model_fields_set & {"preset", "tokenizer", "seed", "model_id"}
        if given:
            raise FastweightsError(f"{min(given)} cannot change in a resumed run: leave it out")
        assert request.resume is not None
        job = self.status(request.resume)
        if job.pid is None and not job.resumable and job.status != "done":
            raise Conflict(f"run {request.resume!r} (status {job.status}) has no checkpoint: start it anew")
        arguments = [f"--resume={request.resume}"]
        if request.corpus is not None:
            arguments.append(f"--corpus={catalog.check_corpus(request.corpus)}")
        return arguments + ([f"--steps={request.steps}"] if request.steps else [])

    def _spawn(self, model_id: str, folder: Path, request: TrainRequest, arguments: "list[str]") -> None:
        process = spawn(
            folder,
            ["train", "--json", "--quiet", f"--root={self.store.root}", *arguments],
            {
                "model_id": model_id,
                "request": request.model_dump(),
                "steps": request.steps or (0 if request.resume else _preset_steps(request.preset)),
                "started_at": now(),
            },
        )
        self._watch(model_id, process)

    def _watch(self, model_id: str, process: "subprocess.Popen[bytes] | None") -> None:
        """A thread that waits for the run's end; for a run of an earlier server it can only look now and then."""
        if process is None and model_id in self._watched:
            return
        self._watched.add(model_id)

        def wait() -> None:
            if process is not None:
                process.wait()
            else:
                while self._alive(model_id):
                    time.sleep(1.0)
            with suppress(FastweightsError, OSError):
                self._settle(model_id, process)
            self._watched.discard(model_id)

        threading.Thread(target=wait, name=f"job-{model_id}", daemon=True).start()

    def _settle(self, model_id: str, process: "subprocess.Popen[bytes] | None") -> None:
        """Writes down how a run ended, where the trainer could not do so itself."""
        folder = self.store.path(MODELS, model_id)
        record = read_record(folder / JOB)
        if process is not None and record.get("pid") == process.pid:
            record["returncode"] = process.returncode
            atomic.write_json(folder / JOB, record)
        manifest = read_record(folder / MANIFEST)
        if self._alive(model_id) or manifest.get("status") not in ("training", "interrupted"):
            return
        status = "cancelled" if record.get("cancelled") else "interrupted"
        if manifest["status"] != status:
            self._models.update(model_id, status=status)

    def _alive(self, model_id: str) -> bool:
        folder = self.store.path(MODELS, model_id)
        return self._pid(folder, read_record(folder / JOB)) is not None

    def _pid(self, folder: Path, job: dict[str, Any]) -> int | None:
        """The process that trains this model now, if there is one."""
        for record in (job, read_holder(folder / "train.lock") or {}):
            if process_alive(record.get("pid"), record.get("create_time")):
                return record["pid"]
        return None


def _check_new(request: TrainRequest) -> list[str]:
    """What can be refused before a process is started; the arguments of the command line."""
    from fastweights.data.tokenizer import TRAINED
    from fastweights.hints import near_miss
    from fastweights.train.config import load_config, presets

    if request.preset not in presets():
        raise FastweightsError(f"preset {request.preset!r} does not exist{near_miss(request.preset, presets())}")
    if load_config(request.preset).plan_only:
        raise FastweightsError(f"preset {request.preset!r} is only planned: `fastweights train` prints what it takes")
    arguments = [f"--preset={request.preset}", f"--seed={request.seed}"]
    if request.corpus is not None:
        arguments.append(f"--corpus={catalog.check_corpus(request.corpus)}")
    if request.tokenizer is not None:
        known = request.tokenizer in ("byte", *TRAINED)
        if not known and not (request.tokenizer.isprintable() and Path(request.tokenizer).is_file()):
            raise FastweightsError(
                f"tokenizer {request.tokenizer[:80]!r} does not exist: byte, {', '.join(TRAINED)}, or a file"
            )
        arguments.append(f"--tokenizer={request.tokenizer}")
    return arguments + ([f"--steps={request.steps}"] if request.steps else [])


def _preset_steps(name: str) -> int:
    from fastweights.train.config import load_config

    return load_config(name).steps


def _derive(folder: Path, job: dict[str, Any], manifest: dict[str, Any], alive: bool) -> tuple[Any, str | None]:
    """(status of the run, its error) from what its processes left behind."""
    if alive:
        return "running", None
    state = manifest.get("status")
    said = complaint(folder, job.get("returncode"))
    if state in WHOLE:
        return "done", said
    if job.get("cancelled") or state == "cancelled":
        return "cancelled", None
    if state is None or state == "failed":
        return "failed", manifest.get("error") or last_line(folder / STDERR) or "the process ended without a word"
    return "interrupted", said


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder / MANIFEST)
    except NotFound:
        return {}


def _last_point(path: Path) -> TrainPoint | None:
    for line in reversed(tail(path).split(b"\n")[:-1]):
        with suppress(orjson.JSONDecodeError):
            return _point(orjson.loads(line))
    return None


def _point(row: Any) -> TrainPoint | None:
    """A row of the log; None if it is not one (figures that were not finite are null)."""
    try:
        return TrainPoint.model_validate({key: row.get(key) for key in TrainPoint.model_fields})
    except (ValidationError, AttributeError):
        return None


def _updated_at(folder: Path) -> str:
    times = [path.stat().st_mtime for path in (folder / LOG, folder / MANIFEST, folder / JOB) if path.exists()]
    return datetime.fromtimestamp(max(times), timezone.utc).isoformat(timespec="microseconds")
