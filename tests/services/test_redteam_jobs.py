"""Red team runs that a server starts: a process each, a status that is read from the disk."""

import time

import pytest

from fastweights.errors import Conflict, NotFound
from fastweights.services.processes import JOB, STDERR
from fastweights.services.redteam import REDTEAM, RedteamRequest
from fastweights.services.redteam_jobs import RedteamJobs
from fastweights.store import atomic
from fastweights.store.root import Store

QUICK = RedteamRequest(budget=2, seeds=1)
LONG = RedteamRequest(budget=64, seeds=1)  # does not end by itself while a test looks at it


def left_behind(store: Store, run_id: str, **record) -> None:
    folder = store.path(REDTEAM, run_id)
    atomic.ensure_dir(folder)
    job = {"request": QUICK.model_dump(mode="json"), "created_at": "2026-11-22T12:00:00+00:00", "pid": 2**22 + 1}
    atomic.write_json(folder / JOB, {**job, "create_time": 1.0, "cancelled": False, "returncode": None, **record})


def test_a_run_is_started_seen_and_cancelled(store: Store) -> None:
    jobs = RedteamJobs(store)
    run = jobs.start(LONG)
    assert (run.status, run.model, run.policy, run.budget) == ("running", "toy", LONG.policy.name, 64)
    with pytest.raises(Conflict, match=run.run_id):
        jobs.start(QUICK)
    assert [one.run_id for one in RedteamJobs(store).list()] == [run.run_id]  # as a server sees it that starts later
    jobs.cancel(run.run_id)
    until = time.monotonic() + 60
    while jobs.status(run.run_id).status == "running" and time.monotonic() < until:
        time.sleep(0.05)
    assert jobs.status(run.run_id).status == "cancelled"
    with pytest.raises(Conflict, match="nothing to cancel"):
        jobs.cancel(run.run_id)


def test_a_run_whose_process_died_is_interrupted(store: Store) -> None:
    left_behind(store, "redteam-1")
    assert RedteamJobs(store).status("redteam-1").status == "interrupted"


def test_a_run_that_failed_says_why(store: Store) -> None:
    left_behind(store, "redteam-1", returncode=1)
    store.path(REDTEAM, "redteam-1").joinpath(STDERR).write_text("attack: blobs\nerror: no space left\n")
    found = RedteamJobs(store).status("redteam-1")
    assert (found.status, found.error) == ("failed", "no space left")


def test_what_does_not_exist_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        RedteamJobs(store).start(RedteamRequest(model="nowhere"))
    with pytest.raises(NotFound, match="redteam-9"):
        RedteamJobs(store).status("redteam-9")
    assert RedteamJobs(store).list() == []
