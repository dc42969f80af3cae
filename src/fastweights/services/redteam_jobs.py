"""Red team runs as processes of their own, which outlive the server. A run is its folder: ``job.json`` and
``stderr.log`` until ``report.json`` is there; its status is derived from what is on disk. Torch-free."""

import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from fastweights.errors import Conflict, FastweightsError
from fastweights.services.monitor_parts import TOY
from fastweights.services.processes import JOB, STDERR, complaint, kill_after, last_line, read_record, spawn
from fastweights.services.redteam import REDTEAM, REPORT, RedteamRequest, RedteamService, RedteamSummary
from fastweights.store import atomic
from fastweights.store.locks import Locks, process_alive
from fastweights.store.models import Models
from fastweights.store.root import Store, check_id, new_id, now

_GRACE_SECONDS = 10.0
_POLICY = "policy.json"


class RedteamJobs:
    """The red team runs that a server starts, beside the finished ones of the store; one at a time."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._locks = Locks()

    def list(self) -> "list[RedteamSummary]":
        """Every run, newest first: those under way and those that left no report too."""
        reports = RedteamService(self.store).list()
        seen = {one.run_id for one in reports}
        started = [path.parent for path in self._folder().glob(f"*/{JOB}") if path.parent.name not in seen]
        jobs = []
        for folder in started:
            with suppress(FastweightsError):
                jobs.append(self.status(folder.name))
        return sorted([*reports, *jobs], key=lambda one: (one.created_at, one.run_id), reverse=True)

    def status(self, run_id: str) -> RedteamSummary:
        """How a run stands; :class:`NotFound` if there is none."""
        folder = self.store.path(REDTEAM, check_id("run", run_id))
        job = read_record(folder / JOB)
        if not job or (folder / REPORT).is_file():
            return RedteamService(self.store).summary(run_id)
        error: str | None = None
        if process_alive(job.get("pid"), job.get("create_time")):
            status = "running"
        elif job.get("cancelled"):
            status = "cancelled"
        else:
            error = complaint(folder, job.get("returncode"))
            status = "failed" if error else "interrupted"
        request = job["request"]
        return RedteamSummary(
            run_id=run_id,
            created_at=job["created_at"],
            model=request["model"],
            policy=request["policy"]["name"],
            budget=request["budget"],
            status=status,
            stage=last_line(folder / STDERR) if status == "running" else None,
            error=error,
        )

    def start(self, request: RedteamRequest) -> RedteamSummary:
        """Starts a run. :class:`Conflict`: one is going on; :class:`NotFound`: there is no such model."""
        if request.model != TOY:
            Models(self.store).path(request.model)
        atomic.ensure_dir(self._folder())
        with self._locks.hold(self.store.path(REDTEAM, "jobs.lock"), "the list of runs", "starting one", 10):
            running = [one.run_id for one in self.list() if one.status == "running"]
            if running:
                raise Conflict(f"run {running[0]!r} is going on: wait for it, or cancel it")
            run_id = new_id(REDTEAM)
            self._spawn(run_id, request)
        return self.status(run_id)

    def cancel(self, run_id: str) -> RedteamSummary:
        """Ends a run; what it had found is not kept."""
        run = self.status(run_id)
        if run.status != "running":
            raise Conflict(f"run {run_id!r} is not going on (status {run.status}): there is nothing to cancel")
        folder = self.store.path(REDTEAM, run_id)
        job = read_record(folder / JOB)
        atomic.write_json(folder / JOB, {**job, "cancelled": True})
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(job["pid"])
            process.terminate()
            threading.Thread(target=kill_after, args=(process, _GRACE_SECONDS), daemon=True).start()
        return self.status(run_id)

    def _folder(self) -> Path:
        return self.store.path(REDTEAM)

    def _spawn(self, run_id: str, request: RedteamRequest) -> None:
        folder = self.store.path(REDTEAM, run_id)
        atomic.ensure_dir(folder)
        atomic.write_json(folder / _POLICY, request.policy.model_dump(mode="json"))
        given = {"budget": request.budget, "chunk-tokens": request.chunk, "lr": request.lr, "seeds": request.seeds}
        options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        line = ["redteam", "--json", f"--root={self.store.root}", f"--run-id={run_id}", f"--model={request.model}"]
        record = {"request": request.model_dump(mode="json"), "created_at": now()}
        process = spawn(folder, [*line, f"--policy={folder / _POLICY}", *options], record)
        threading.Thread(target=_settle, args=(folder, process), name=f"job-{run_id}", daemon=True).start()


def _settle(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """Waits for the run's end and writes its exit code down."""
    process.wait()
    with suppress(FastweightsError, OSError):
        atomic.write_json(folder / JOB, {**read_record(folder / JOB), "returncode": process.returncode})
