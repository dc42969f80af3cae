"""Every kind of damage is found, named, and repaired where it can be."""

import os
import time

import pytest

from fastweights.errors import FastweightsError
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


def test_a_meta_that_cannot_be_rebuilt_stops_the_garbage_collection(sessions):
    new_session(sessions, "s2")
    sessions.fork("s1", "s3", "init")  # no commit of its own, never listed: nothing tells where it stood
    path = sessions.path("s3", "meta.json")
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    report = fsck(sessions.store, repair=True, gc=True, grace_s=0)
    assert not report.ok
    assert report.collected == 0
    assert "not rebuilt" in report.findings[0].problem
    path.write_bytes(whole)
    assert fsck(sessions.store).ok


def orphan(sessions) -> list[str]:
    """A commit that was cut off before the head moved: its id and its state's."""
    made = sessions.commits.put("s1", sessions.head("s1"), "turn", snapshot(7), {}, {})
    return [made.id, made.state]


def test_orphans_are_kept_while_young_then_collected(sessions):
    orphans = orphan(sessions)
    assert "2 objects" in problems(sessions.store, "note")[0]
    assert fsck(sessions.store, gc=True).collected == 0
    old = time.time() - 7200
    for sha in orphans:
        os.utime(sessions.objects.path(sha), (old, old))
    sessions.objects.put(snapshot(7))  # in use again: young again
    report = fsck(sessions.store, gc=True)
    assert (report.ok, report.collected) == (True, 1)
    assert [sessions.objects.has(sha) for sha in orphans] == [False, True]
    assert [c.turn for c in sessions.log("s1")] == [2, 1, 0]


def test_what_a_session_remembers_is_never_an_orphan(sessions):
    """A head that a checkout left, a tag, a deleted tag, what a reset went back to, files of a commit."""
    left = sessions.head("s1")
    sessions.checkout("s1", "head~1")
    made = sessions.commit(
        "s1", parent=sessions.meta("s1").head, state=snapshot(8), guard={}, record={}, files={"runs/r1/steps.csv": b"1"}
    )
    sessions.tag("s1", "best")
    sessions.checkout("s1", "init")
    sessions.untag("s1", "best")
    sessions.reset("s1", to=left.id)
    sessions.fork("s1", "s2")
    sessions.path("s1", "meta.json").unlink()  # even if only the fork is left, what its reset took is needed
    sessions.path("s1", "session.lock").unlink()
    report = fsck(sessions.store, repair=True, gc=True, grace_s=0)
    assert (report.ok, report.collected) == (True, 0), report.findings
    assert [c.turn for c in sessions.commits.transcript(sessions.head("s2").id)] == [1, 2]
    assert {c.id for c in sessions.log("s1", everything=True)} >= {left.id, made.id}


def test_files_of_a_commit_are_views_that_are_rebuilt(sessions):
    for number in (1, 2):
        files = {f"runs/r{number}/steps.csv": b"t\n%d" % number, "metrics.json": b"[%d]" % number}
        sessions.commit("s1", parent=sessions.meta("s1").head, state=snapshot(8), guard={}, record={}, files=files)
    assert sessions.path("s1", "runs", "r1", "steps.csv").read_bytes() == b"t\n1"
    sessions.path("s1", "runs", "r1", "steps.csv").unlink()
    sessions.path("s1", "metrics.json").write_bytes(b"junk")
    assert "runs/r1/steps.csv" in problems(sessions.store, "warning")[0]
    assert fsck(sessions.store, repair=True).ok
    assert sessions.path("s1", "runs", "r1", "steps.csv").read_bytes() == b"t\n1"
    sessions.checkout("s1", "head~1")
    assert sessions.path("s1", "metrics.json").read_bytes() == b"[1]"
    sessions.objects.path(sessions.head("s1").files["metrics.json"]).unlink()
    assert "file metrics.json of turn 3" in problems(sessions.store, "error")[0]
    with pytest.raises(FastweightsError, match="not valid"):
        sessions.commit(
            "s1", parent=sessions.meta("s1").head, state=snapshot(8), guard={}, record={}, files={"../x": b""}
        )


@pytest.mark.parametrize("damage", [b"", b"{", b"{}", None])
@pytest.mark.parametrize("listed", [True, False])
def test_a_lost_meta_is_rebuilt_from_objects_and_views(sessions, damage, listed):
    sessions.tag("s1", "best", "head~1")
    sessions.checkout("s1", "head~1")
    commit_turn(sessions, "s1", 3)
    fork = sessions.fork("s1", "s2")
    commit_turn(sessions, "s2", 4)
    whole = {name: sessions.meta(name) for name in ("s1", "s2")}
    if listed:
        sessions.list()
    for name in whole:
        path = sessions.path(name, "meta.json")
        path.unlink() if damage is None else path.write_bytes(damage)
    assert sessions.list() == []
    report = fsck(sessions.store)
    assert not report.ok
    assert {f.level for f in report.findings} == {"warning"}
    assert damage is not None or not sessions.path("s1", "meta.json").exists(), "without --repair nothing is written"
    report = fsck(sessions.store, repair=True)
    assert report.ok, report.findings
    for name, was in whole.items():
        got = sessions.meta(name)
        assert (got.head, got.root, got.turns, got.model, got.options) == (
            was.head, was.root, was.turns, was.model, was.options,
        )  # fmt: skip
        assert (got.parent_session, got.forked_from) == (was.parent_session, was.forked_from)
        if listed:
            assert (got.tags, got.title) == (was.tags, was.title)
    assert fork.forked_from == whole["s2"].forked_from
    assert {c.id for c in sessions.log("s1", everything=True)} == {
        c.id for start in (whole["s1"].head, *whole["s1"].left) for c in sessions.history(start)
    }, "the head that a checkout left is found again"
    assert fsck(sessions.store).findings == []


def test_a_lost_meta_at_the_initial_commit(sessions):
    sessions.checkout("s1", "init")
    sessions.path("s1", "meta.json").write_bytes(b"x")
    assert fsck(sessions.store, repair=True).ok
    meta = sessions.meta("s1")
    assert (meta.head, len(meta.left)) == (meta.root, 1)


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
