"""Monitor runs on disk: what a reader sees while one is written, after it, and after its writer was killed."""

import hashlib
import json
import subprocess
import sys

import pytest

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.root import Store
from fastweights.store.runs import KEPT_BYTES, Runs


def _row(number: int) -> bytes:
    return json.dumps({"chunk_index": number, "reasons": ["a, b]"]}).encode()


def _write(runs: Runs, count: int = 3, run_id: str = "r1") -> None:
    writer = runs.create("text", {"model": "toy"}, run_id=run_id)
    writer.take(b"some text")
    for number in range(count):
        writer.event(_row(number))
    writer.finish("done", {"chunks": count})


def test_a_run_from_begin_to_end(store: Store) -> None:
    runs = Runs(store)
    writer = runs.create("text", {"model": "toy"}, run_id="r1", own_canaries=2)
    assert runs.get("r1")["status"] == "running"
    assert runs.get("r1")["own_canaries"] == 2
    writer.take(b"ab")
    writer.take(b"cd")
    writer.event(_row(0))
    writer.flush()
    assert [e["chunk_index"] for e in runs.events("r1")] == [0]
    follower = runs.follow("r1")
    assert follower.poll() == [_row(0)]
    assert follower.poll() == []
    writer.event(_row(1))
    writer.finish("done", {"chunks": 2})
    assert follower.poll() == [_row(1)]  # it reads on where it stood
    assert follower.poll() == []
    follower.close()
    folder = store.root / "text_runs" / "r1"
    assert {p.name for p in folder.iterdir()} == {
        "meta.json",
        "request.json",
        "summary.json",
        "events.json",
        "input.txt",
    }
    assert json.loads((folder / "events.json").read_bytes()) == [json.loads(_row(0)), json.loads(_row(1))]
    assert list(runs.events("r1")) == json.loads((folder / "events.json").read_bytes())
    record = runs.get("r1")
    assert (record["status"], record["summary"], record["request"]) == ("done", {"chunks": 2}, {"model": "toy"})
    assert (record["input_bytes"], record["input_sha256"]) == (4, hashlib.sha256(b"abcd").hexdigest())
    assert (folder / "input.txt").read_bytes() == b"abcd"


def test_no_event_at_all_is_an_empty_array(store: Store) -> None:
    _write(Runs(store), 0)
    assert json.loads((store.root / "text_runs" / "r1" / "events.json").read_bytes()) == []
    assert list(Runs(store).events("r1")) == []


def test_the_kept_input_is_capped(store: Store) -> None:
    runs = Runs(store)
    writer = runs.create("big", {})
    digest = hashlib.sha256()
    for number in range(30):
        block = bytes([number]) * 70_000
        writer.take(block)
        digest.update(block)
    writer.finish("done", None)
    record = runs.get(writer.run_id)
    assert (record["input_bytes"], record["input_kept_bytes"]) == (2_100_000, KEPT_BYTES)
    assert record["input_sha256"] == digest.hexdigest()
    assert runs.path(writer.run_id, "input.txt").stat().st_size == KEPT_BYTES


def test_list_is_newest_first_and_survives_a_lost_index_and_a_damaged_run(store: Store) -> None:
    runs = Runs(store)
    for name in ("a", "b", "c"):
        _write(runs, run_id=name)
    assert [r["id"] for r in runs.list()] == ["c", "b", "a"]
    (store.root / "text_runs" / "index.json").unlink()
    (store.root / "text_runs" / "b" / "meta.json").write_bytes(b"{")
    assert [r["id"] for r in runs.list()] == ["c", "a"]
    report = fsck(store)
    assert [(f.level, f.path) for f in report.findings] == [("error", "text_runs/b")]
    assert report.checked["runs"] == 3


def test_wrong_ids(store: Store) -> None:
    runs = Runs(store)
    _write(runs)
    with pytest.raises(Conflict):
        runs.create("text", {}, run_id="r1")
    with pytest.raises(NotFound):
        runs.get("gone")
    with pytest.raises(NotFound):
        list(runs.events("gone"))
    for bad in ("../r1", "", "A", "a/b"):
        with pytest.raises(FastweightsError):
            runs.get(bad)
    atomic.write_json(runs.path("r1", "meta.json"), {**atomic.read_json(runs.path("r1", "meta.json")), "id": "r2"})
    with pytest.raises(Corrupt, match="says id 'r2'"):
        runs.get("r1")


KILLED = """
import os, signal, sys
from fastweights.store.root import Store
from fastweights.store.runs import Runs
writer = Runs(Store(sys.argv[1])).create("text", {"model": "toy"}, run_id="r1")
writer.take(b"some text")
for number in range(3):
    writer.event(b'{"chunk_index": %d}' % number)
writer.flush()
writer._events.write(b'{"chunk_in')
writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_whose_process_was_killed_shows_as_interrupted(store: Store) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root)], check=False)
    assert done.returncode == -9
    runs = Runs(store)
    assert [r["status"] for r in runs.list()] == ["interrupted"]
    assert runs.get("r1")["summary"] is None
    assert [e["chunk_index"] for e in runs.events("r1")] == [0, 1, 2]  # the torn line is not seen
    report = fsck(store)
    assert [(f.level, f.problem) for f in report.findings] == [("note", "its process is gone: interrupted")]
    assert report.ok
    assert fsck(store, repair=True).ok
    assert not fsck(store).findings
    assert runs.get("r1")["status"] == "interrupted"
    assert [e["chunk_index"] for e in runs.events("r1")] == [0, 1, 2]
    assert not runs.path("r1", "events.jsonl").exists()
