"""Every kind of damage is found, named, and repaired where it can be."""

import os
import time

import pytest

from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions
from tests.store.snapshots import commit_turn, new_session, snapshot


@pytest.fixture
def sessions(store):
    made = Sessions(store)
    new_session(made, "s1")
    commit_turn(made, "s1", 1)
    commit_turn(made, "s1", 2)
    return made


def problems(store, level):
    return [f"{f.path}: {f.problem}" for f in fsck(store).findings if f.level == level]


def test_a_missing_and_a_clean_store(tmp_path, sessions):
    report = fsck(Store(tmp_path / "nothing"))
    assert report.ok
    assert not (tmp_path / "nothing").exists()
    report = fsck(sessions.store)
    assert report.findings == []
    assert report.checked == {"objects": 6, "sessions": 1, "models": 0, "runs": 0}


@pytest.mark.parametrize(
    "file", ["context_state.safetensors", "optim_state.safetensors", "events.jsonl", "trace.jsonl"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed", "longer"])
def test_views_are_rebuilt(sessions, file, damage):
    path = sessions.path("s1", file)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"truncated": whole[:-3], "changed": whole[:-2] + b"xx", "longer": whole + b"{}\n"}[damage])
    report = fsck(sessions.store)
    assert not report.ok
    assert file in report.findings[0].problem
    meta = sessions.meta("s1")
    assert fsck(sessions.store, repair=True).ok
    assert path.read_bytes() == whole
    assert sessions.meta("s1") == meta
    assert fsck(sessions.store).findings == []


@pytest.mark.parametrize("which", ["head commit", "head state", "first commit", "first state"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_damaged_objects_are_named_and_not_papered_over(sessions, which, damage):
    log = sessions.log("s1")
    commit = log[0] if which.startswith("head") else log[-1]
    path = sessions.objects.path(commit.id if which.endswith("commit") else commit.state)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"#" + data[1:])
    report = fsck(sessions.store, repair=True, gc=True, grace_s=0)
    assert not report.ok
    errors = [f for f in report.findings if f.level == "error"]
    assert errors[0].path == "text_sessions/s1"
    if which == "head state":
        assert f"newest whole commit: {log[1].id}" in errors[0].problem
    path.write_bytes(data)
    assert fsck(sessions.store).ok, "repair and gc lost nothing"


def test_a_damaged_meta_stops_the_garbage_collection(sessions):
    new_session(sessions, "s2")
    path = sessions.path("s1", "meta.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    report = fsck(sessions.store, gc=True, grace_s=0)
    assert not report.ok
    assert report.collected == 0
    path.write_bytes(whole)
    assert fsck(sessions.store).ok


def test_orphans_are_kept_while_young_then_collected(sessions):
    head = sessions.log("s1")[1].id
    orphans = [sessions.head("s1").id, sessions.head("s1").state]
    sessions.move_head("s1", head)
    assert "2 objects" in problems(sessions.store, "note")[0]
    assert fsck(sessions.store, gc=True).collected == 0
    old = time.time() - 7200
    for sha in orphans:
        os.utime(sessions.objects.path(sha), (old, old))
    sessions.objects.put(snapshot(2))  # in use again: young again
    report = fsck(sessions.store, gc=True)
    assert (report.ok, report.collected) == (True, 1)
    assert [sessions.objects.has(sha) for sha in orphans] == [False, True]
    assert [c.turn for c in sessions.log("s1")] == [1, 0]


def test_tagged_commits_are_not_orphans(sessions):
    head = sessions.head("s1")
    sessions.move_head("s1", sessions.log("s1")[1].id)
    meta = atomic.read_json(sessions.path("s1", "meta.json"))
    atomic.write_json(sessions.path("s1", "meta.json"), meta | {"tags": {"best": head.id}})
    assert fsck(sessions.store, gc=True, grace_s=0).collected == 0
    assert sessions.find("s1", "best") == head


def test_leftovers_symlinks_and_foreign_objects(sessions, tmp_path):
    root = sessions.store.root
    (root / "objects" / ".tmp-999999999-ab").write_bytes(b"half")
    (root / "text_sessions" / f".tmp-{os.getpid()}-ab").write_bytes(b"a live writer's")
    sessions.path("s9").mkdir()
    (root / "text_sessions" / "index.json").write_bytes(b"{")
    bad = root / "objects" / "ab" / ("c" * 62)
    bad.parent.mkdir(exist_ok=True)
    bad.write_bytes(b"not what the name says")
    report = fsck(sessions.store)
    assert not report.ok
    assert sorted((f.level, f.path.split("/")[-1]) for f in report.findings) == [
        ("note", ".tmp-999999999-ab"),
        ("note", "s9"),
        ("warning", "c" * 62),
        ("warning", "index.json"),
    ]
    assert fsck(sessions.store, repair=True).ok
    assert fsck(sessions.store).findings == []
    (root / "text_sessions" / "link").symlink_to(tmp_path)
    report = fsck(sessions.store, repair=True)
    assert not report.ok
    assert "symbolic link" in report.findings[0].problem
    assert tmp_path.is_dir()


def test_models(store):
    import torch

    from fastweights.store.tensors import save_tensors

    models = Models(store)
    folder = models.create("m1", {})
    sha = save_tensors(folder / "checkpoint.safetensors", {"w": torch.ones(3)})
    atomic.write_json(folder / "config.json", {"kind": "tiny_lm"})
    atomic.write_json(folder / "tokenizer.json", {"kind": "byte"})
    atomic.append_jsonl(folder / "train_log.jsonl", [{"step": 1}, {"step": 2}])
    models.update("m1", status="ready", checkpoint_sha256=sha)
    assert fsck(store).findings == []

    with (folder / "train_log.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "lo')
    assert "torn" in problems(store, "warning")[0]
    assert fsck(store, repair=True).ok
    assert atomic.read_jsonl(folder / "train_log.jsonl") == [{"step": 1}, {"step": 2}]

    whole = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(whole[:-1] + b"\x01")
    assert "SHA-256" in problems(store, "error")[0]
    (folder / "checkpoint.safetensors").write_bytes(whole[:-1])
    assert "truncated" in problems(store, "error")[0]
    (folder / "checkpoint.safetensors").unlink()
    assert "no file" in problems(store, "error")[0]
    (folder / "checkpoint.safetensors").write_bytes(whole)
    (folder / "tokenizer.json").write_bytes(b"{")
    assert "tokenizer.json" in problems(store, "error")[0]
    assert not fsck(store, repair=True).ok


def test_a_job_whose_process_is_gone_becomes_interrupted(store):
    models = Models(store)
    folder = models.create("m1", {"status": "training"})
    atomic.write_json(folder / "job.json", {"pid": 999_999_999, "create_time": 1.0})
    assert "is gone" in problems(store, "warning")[0]
    assert fsck(store, repair=True).ok
    assert models.get("m1")["status"] == "interrupted"
    assert fsck(store).findings == []
