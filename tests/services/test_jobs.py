"""Training runs as real processes: start, look, limit, restart, cancel, resume, kill -9, failure."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.services.jobs import TrainJobs
from fastweights.services.processes import kill_after
from fastweights.services.records import TrainJob, TrainRequest
from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.models import Models
from fastweights.store.root import Store

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on. " * 400


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def jobs(store: Store) -> Iterator[TrainJobs]:
    made = TrainJobs(store)
    yield made
    for job in made.list():
        if job.pid is not None:
            with suppress(psutil.NoSuchProcess):  # it may have ended since
                psutil.Process(job.pid).kill()
    wait_for(lambda: not made._watched)


def ended(jobs: TrainJobs, model_id: str) -> TrainJob:
    wait_for(lambda: jobs.status(model_id).pid is None)
    wait_for(lambda: model_id not in jobs._watched)
    return jobs.status(model_id)


def test_the_life_of_a_run(store, jobs, corpus):
    first = jobs.start(TrainRequest(corpus=corpus, model_id="m1", steps=100_000))
    assert (first.status, first.preset, first.steps, first.resumable) == ("running", "laptop", 100_000, False)
    with pytest.raises(Conflict, match="being trained"):
        jobs.start(TrainRequest(corpus=corpus, model_id="m1"))
    second = jobs.start(TrainRequest(corpus=corpus, model_id="m2", steps=100_000))
    with pytest.raises(Conflict, match="2 runs are going on"):
        jobs.start(TrainRequest(corpus=corpus, model_id="m3"))
    assert not store.path("text_models", "m3").exists()
    assert second.pid is not None
    assert os.getsid(second.pid) == second.pid, "in a session of its own: Ctrl-C on the server does not reach it"

    jobs.cancel("m2")  # before it could write anything
    assert ended(jobs, "m2").status == "cancelled"
    with pytest.raises(Conflict, match="nothing to cancel"):
        jobs.cancel("m2")

    wait_for(lambda: jobs.status("m1").last is not None)
    assert jobs.status("m1").step >= 1

    restarted = TrainJobs(store)  # another server: the run goes on
    restarted.adopt()
    assert (restarted.status("m1").status, restarted.status("m1").pid) == ("running", first.pid)
    assert fsck(store).ok, "a run that goes on is nothing to repair"
    assert restarted.cancel("m1").model_id == "m1"
    ended(jobs, "m1")
    cancelled = ended(restarted, "m1")
    assert (cancelled.status, cancelled.resumable, cancelled.error) == ("cancelled", True, None)
    assert Models(store).get("m1")["status"] == "cancelled"
    assert cancelled.step == Models(store).get("m1")["step"] > 0, "the checkpoint, not the last row"

    with pytest.raises(FastweightsError, match="preset cannot change"):
        jobs.start(TrainRequest(resume="m1", preset="laptop"))
    again = jobs.start(TrainRequest(resume="m1", steps=100_000))
    assert again.pid != first.pid
    wait_for(lambda: Models(store).get("m1")["status"] == "training")
    rows = len(jobs.metrics("m1"))
    wait_for(lambda: len(jobs.metrics("m1")) > rows)
    assert again.pid is not None
    os.kill(again.pid, signal.SIGKILL)
    killed = ended(jobs, "m1")
    assert (killed.status, killed.resumable) == ("interrupted", True)
    assert killed.error == "the process was killed by signal 9"
    assert Models(store).get("m1")["status"] == "interrupted"

    step = int(atomic.read_json(sorted(store.path("text_models", "m1", "ckpt").glob("step-*.json"))[-1])["step"])
    jobs.start(TrainRequest(resume="m1", steps=step + 12))
    done = ended(jobs, "m1")
    assert (done.status, done.step, done.error) == ("done", step + 12, None), done
    points = jobs.metrics("m1")
    assert [p.step for p in points] == sorted({p.step for p in points})
    assert jobs.metrics("m1", points[-2].step) == points[-1:]
    assert done.last == points[-1]
    assert Models(store).resolve(None) == "m1"
    assert [j.model_id for j in jobs.list()] == ["m1", "m2"] or [j.model_id for j in jobs.list()] == ["m2", "m1"]
    assert fsck(store, repair=True).ok


def test_a_run_that_fails_says_why(jobs, tmp_path):
    (tmp_path / "short.txt").write_text("too short")
    jobs.start(TrainRequest(corpus=str(tmp_path / "short.txt"), model_id="m1", steps=5))
    job = ended(jobs, "m1")
    assert job.status == "failed"
    assert job.error is not None
    assert "short.txt" in job.error
    assert "\n" not in job.error
    assert not job.resumable


@pytest.mark.parametrize(
    ("body", "error", "match"),
    [
        ({"preset": "laptp"}, FastweightsError, "did you mean 'laptop'"),
        ({"preset": "../x.yaml"}, FastweightsError, "does not exist"),
        ({"corpus": "/nowhere/at/all"}, NotFound, "does not exist"),
        ({"corpus": "a\0b"}, FastweightsError, "control characters"),
        ({"tokenizer": "/nowhere.json"}, FastweightsError, "does not exist"),
        ({"tokenizer": "a\0b"}, FastweightsError, "does not exist"),
        ({"resume": "gone"}, NotFound, "no training run"),
        ({"model_id": "starter"}, Conflict, "stands for the model that ships"),
    ],
)
def test_what_can_be_refused_is_refused_before_a_process_starts(store, jobs, body, error, match):
    with pytest.raises(error, match=match):
        jobs.start(TrainRequest(**body))
    assert not store.root.exists()


def test_an_id_that_is_taken(store, jobs, corpus):
    Models(store).create("m1", {"status": "ready"})
    with pytest.raises(Conflict, match="exists"):
        jobs.start(TrainRequest(corpus=corpus, model_id="m1"))


def test_a_flag_in_a_value_stays_a_value(store, jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--help").write_text(TEXT)
    started: list[list[str]] = []
    monkeypatch.setattr(
        TrainJobs, "_spawn", lambda self, model_id, folder, request, arguments: started.append(arguments)
    )
    with pytest.raises(NotFound):
        jobs.start(TrainRequest(corpus="--help", model_id="m1"))
    assert "--corpus=--help" in started[0]


def test_every_status_is_derived_from_what_is_on_disk(store, jobs):
    gone = {"pid": 999_999_999, "create_time": 1.0, "request": {"preset": "laptop", "steps": 7}, "steps": 7}
    folder = Models(store).create("m1", {"steps": 9, "step": 3})
    for job, manifest, checkpoint, status, resumable in [
        (gone, "training", True, "interrupted", True),
        (gone, "training", False, "interrupted", False),
        (gone | {"cancelled": True}, "interrupted", True, "cancelled", True),
        (gone, "ready", True, "done", False),
        (gone, "failed", True, "failed", True),
        ({}, "training", False, "interrupted", False),
    ]:
        atomic.write_json(folder / "job.json", job)
        if not job:
            (folder / "job.json").unlink()
        Models(store).update("m1", status=manifest)
        (folder / "ckpt").mkdir(exist_ok=True)
        sidecar = folder / "ckpt" / "step-00000003.json"
        sidecar.write_text("{}") if checkpoint else sidecar.unlink(missing_ok=True)
        found = jobs.status("m1")
        assert (found.status, found.resumable, found.step, found.steps) == (status, resumable, 3, 9)
    with pytest.raises(NotFound):
        jobs.status("gone")
    with pytest.raises(NotFound):
        jobs.metrics("gone")


def test_a_run_of_the_command_line_is_seen_through_its_lock(store, jobs):
    from fastweights.store.locks import Locks

    folder = Models(store).create("m1", {"steps": 9})
    with Locks().hold(folder / "train.lock", "model", "training it"):
        assert (jobs.status("m1").status, jobs.status("m1").pid) == ("running", os.getpid())
    assert jobs.status("m1").status == "interrupted"


def test_a_process_that_does_not_stop_is_killed():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    child.terminate()
    kill_after(psutil.Process(child.pid), 0.3)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL


def test_damaged_rows_of_a_log_are_passed_over(store, jobs):
    folder = Models(store).create("m1", {})
    row = {"step": 1, "loss": 2.0, "val_bpb": None, "grad_norm": 1.0, "lr": 0.1, "tokens_per_s": 1.0, "eta_s": 1.0}
    row["cpu_seconds"] = 1.0
    atomic.append_jsonl(folder / "train_log.jsonl", [row, {**row, "step": 2, "loss": None}, {**row, "step": 3}])
    with (folder / "train_log.jsonl").open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert [p.step for p in jobs.metrics("m1")] == [1, 3]
    last = jobs.status("m1").last
    assert last is not None
    assert last.step == 3
