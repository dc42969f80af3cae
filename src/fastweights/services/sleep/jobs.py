"""Sleeps as processes of their own, which outlive the server: ``sleep/<model id>/``. The status of a run is derived
from what is on disk; what it makes is a candidate (:mod:`fastweights.services.sleep.candidates`). Torch-free."""

import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.services import catalog
from fastweights.services.processes import JOB, STDERR, complaint, kill_after, last_line, read_record, spawn
from fastweights.services.sleep.candidates import Candidates, check_free
from fastweights.services.sleep.records import CandidateStatus, SleepCandidate, SleepEvidence, SleepRequest
from fastweights.store import atomic
from fastweights.store.index import folder_ids
from fastweights.store.locks import Locks, process_alive
from fastweights.store.models import Models
from fastweights.store.root import Store, check_id, new_id, now
from fastweights.store.sleep_files import REQUEST, SLEEP

_GRACE_SECONDS = 10.0


class SleepJobs:
    """The sleeps that a server starts, beside the candidates of the store; one at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.candidates = Candidates(store)
        self._locks = Locks()

    def list(self) -> "list[SleepCandidate]":
        """Candidates and runs that left none, newest first."""
        made = self.candidates.list()
        seen = {one.model_id for one in made}
        runs = [self._run(name) for name in folder_ids(self.store, SLEEP) if name not in seen]
        rows = [*made, *(run for run in runs if run is not None)]
        return sorted(rows, key=lambda one: (one.created_at, one.model_id), reverse=True)

    def show(self, model_id: str) -> SleepEvidence:
        """A candidate with its evidence, or how its run stands; :class:`NotFound` if there is neither."""
        try:
            return self.candidates.show(model_id)
        except NotFound:
            if (run := self._run(check_id("model", model_id))) is None:
                raise
            return SleepEvidence(candidate=run, manifest=None)

    def start(self, request: SleepRequest) -> SleepCandidate:
        """Starts a run. :class:`Conflict`: one is going on, or the id is taken; NotFound: there is no such base."""
        models = Models(self.store)
        if request.nano is None:
            request = request.model_copy(update={"base_model_id": models.resolve(request.base_model_id)})
        if request.core_path is not None:
            catalog.check_corpus(request.core_path)
        model_id = request.model_id or new_id("sleep")
        check_free(models, model_id)
        folder = self.store.path(SLEEP, model_id)
        atomic.ensure_dir(self.store.path(SLEEP))
        with self._locks.hold(self.store.path(SLEEP, "jobs.lock"), "the list of sleeps", "starting one", 10):
            rows = self.list()
            if going := [one.model_id for one in rows if one.status == "running"]:
                raise Conflict(f"sleep {going[0]!r} is going on: wait for it, or cancel it")
            if any(one.model_id == model_id for one in rows) or folder.exists():
                raise Conflict(f"model_id {model_id!r} is taken: choose another")
            self._spawn(folder, request.model_copy(update={"model_id": model_id}))
        return self.show(model_id).candidate

    def cancel(self, model_id: str) -> SleepCandidate:
        """Ends a run; nothing of it is kept."""
        run = self.show(model_id).candidate
        if run.status != "running":
            raise Conflict(f"sleep {model_id!r} is not going on (status {run.status}): there is nothing to cancel")
        folder = self.store.path(SLEEP, model_id)
        job = read_record(folder / JOB)
        atomic.write_json(folder / JOB, {**job, "cancelled": True})
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(job["pid"])
            process.terminate()
            threading.Thread(target=kill_after, args=(process, _GRACE_SECONDS), daemon=True).start()
        return self.show(model_id).candidate

    def _spawn(self, folder: Path, request: SleepRequest) -> None:
        atomic.ensure_dir(folder)
        atomic.write_json(folder / REQUEST, request.model_dump(mode="json", exclude_unset=True))
        line = ["sleep", "--json", f"--root={self.store.root}", f"--request={folder / REQUEST}"]
        process = spawn(folder, line, {"request": request.model_dump(mode="json"), "created_at": now()})
        threading.Thread(target=_settle, args=(folder, process), name=f"job-{folder.name}", daemon=True).start()

    def _run(self, model_id: str) -> SleepCandidate | None:
        """How a run without a candidate stands; None if there is none, or its record cannot be read."""
        folder = self.store.path(SLEEP, model_id)
        try:
            job = read_record(folder / JOB)
            asked = SleepRequest.model_validate(job["request"])
        except (FastweightsError, KeyError, ValueError):
            return None
        status, error = _derive(folder, job)
        return SleepCandidate(
            model_id=model_id,
            kind="text" if asked.nano is None else "nano",
            status=status,
            mode=asked.mode,
            base_model_id=asked.base_model_id or asked.nano,
            created_at=job["created_at"],
            decided_at=None,
            retention=None,
            core_before=None,
            core_after=None,
            sessions=0,
            turns=0,
            stage=last_line(folder / STDERR) if status == "running" else None,
            error=error,
        )


def _derive(folder: Path, job: dict[str, Any]) -> tuple[CandidateStatus, str | None]:
    """(status, error) of a run that made no candidate."""
    if process_alive(job.get("pid"), job.get("create_time")):
        return "running", None
    if job.get("cancelled"):
        return "cancelled", None
    error = complaint(folder, job.get("returncode"))
    return ("failed", error) if error else ("interrupted", None)


def _settle(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """Waits for the run's end and writes its exit code down."""
    process.wait()
    with suppress(FastweightsError, OSError):
        atomic.write_json(folder / JOB, {**read_record(folder / JOB), "returncode": process.returncode})
