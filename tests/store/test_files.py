"""Paths, atomic files, objects."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.objects import Objects, sha256
from fastweights.store.root import Store, check_id, new_id

GOOD_ID = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(GOOD_ID)
def test_good_ids_are_paths_inside_the_root(name):
    store = Store("/nonexistent/root")
    assert check_id("session", name) == name
    assert store.path("text_sessions", name, "meta.json").is_relative_to(store.root)


@given(st.text(max_size=70))
def test_any_text_is_a_good_id_or_refused_everywhere(name):
    store = Store("/nonexistent/root")
    import re

    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        return
    for call in (lambda: check_id("model", name), lambda: store.path("text_models", name, "manifest.json")):
        with pytest.raises(FastweightsError):
            call()


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "A",
        "-a",
        "_a",
        "a\n",
        "a\0",
        "é",
        "a" * 65,
        "a.b",
        ".tmp-1",
        "a.exe",
        None,
        3,
    ],
)
def test_named_bad_ids(bad):
    with pytest.raises(FastweightsError, match="id"):
        check_id("session", bad)
    with pytest.raises(FastweightsError):
        Store("/nonexistent").path("text_sessions", bad)
    with pytest.raises(FastweightsError):
        Store("/nonexistent").path(bad, "meta.json")


def test_fresh_ids_are_valid_and_differ():
    ids = {new_id("s") for _ in range(50)}
    assert len(ids) == 50
    for name in ids:
        check_id("session", name)


def test_root_from_argument_then_environment_then_default(tmp_path, monkeypatch):
    monkeypatch.setenv("ARTIFACTS_ROOT", str(tmp_path / "env"))
    assert Store(tmp_path / "arg").root == tmp_path / "arg"
    assert Store().root == tmp_path / "env"
    monkeypatch.delenv("ARTIFACTS_ROOT")
    monkeypatch.chdir(tmp_path)
    assert Store().root == tmp_path / "artifacts"
    assert not any(tmp_path.iterdir()), "nothing is created before the first write"
    (tmp_path / "file").write_text("x")
    with pytest.raises(FastweightsError, match="is a file"):
        Store(tmp_path / "file")


@pytest.mark.parametrize("level", ["text_sessions", "text_sessions/s1", "text_sessions/s1/meta.json"])
def test_symlinks_are_refused_at_every_level(tmp_path, level):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "meta.json").write_text("{}")
    store = Store(tmp_path / "root")
    link = store.root / level
    link.parent.mkdir(parents=True)
    link.symlink_to(outside / "meta.json" if level.endswith("json") else outside)
    with pytest.raises(FastweightsError, match="symbolic link"):
        store.path("text_sessions", "s1", "meta.json")


def test_a_root_that_is_a_symlink_is_the_users_choice(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert Store(tmp_path / "link").root == tmp_path / "real"


def test_reading_through_a_symlink_is_refused(tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(Corrupt, match="link"):
        atomic.read_json(tmp_path / "link")


@settings(max_examples=40)
@given(value=st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_json_round_trip(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("json") / "value.json"
    atomic.write_json(path, value)
    assert atomic.read_json(path) == value
    assert atomic.dump_json(value) == atomic.dump_json(dict(reversed(value.items())))
    assert [p.name for p in path.parent.iterdir()] == ["value.json"], "no temporary file is left"


def test_json_truncated_at_every_byte_names_the_file(tmp_path):
    path = tmp_path / "meta.json"
    whole = atomic.dump_json({"head": "é" * 3, "turns": [1, 2.5, None]})
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(Corrupt, match=r"meta.json"):
            atomic.read_json(path)
    path.write_bytes(b"[1]")
    with pytest.raises(Corrupt, match="list where an object"):
        atomic.read_json(path)
    with pytest.raises(NotFound, match=r"gone.json"):
        atomic.read_json(tmp_path / "gone.json")


@pytest.mark.parametrize("value", ["\ud800", 2**70, object()])
def test_what_json_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(FastweightsError, match="JSON"):
        atomic.write_json(tmp_path / "x.json", {"a": value})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    atomic.write_json(path, {"v": 1})

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_json(path, {"v": 2})
    assert atomic.read_json(path) == {"v": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_jsonl_torn_at_every_byte_keeps_the_whole_rows_and_appends_after_them(tmp_path):
    path = tmp_path / "log.jsonl"
    rows = [{"step": i, "text": "é" * i} for i in range(4)]
    assert atomic.append_jsonl(path, rows[:2]) + 0 == path.stat().st_size
    atomic.append_jsonl(path, rows[2:])
    whole = path.read_bytes()
    assert atomic.read_jsonl(path) == rows
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        n = whole[:size].count(b"\n")
        assert atomic.read_jsonl(path) == rows[:n]
        atomic.append_jsonl(path, [{"new": 1}])
        assert atomic.read_jsonl(path) == [*rows[:n], {"new": 1}]
    assert atomic.read_jsonl(tmp_path / "none.jsonl") == []


def test_jsonl_long_torn_tail_is_found_across_blocks(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\n' + b"x" * 200_000)
    atomic.append_jsonl(path, [{"b": 2}])
    assert path.read_bytes() == b'{"a":1}\n{"b":2}\n'


def test_jsonl_append_at_a_recorded_size(tmp_path):
    path = tmp_path / "log.jsonl"
    size = atomic.append_jsonl(path, [{"a": 1}])
    atomic.append_jsonl(path, [{"unacknowledged": 2}])
    atomic.append_jsonl(path, [{"b": 3}], at=size)
    assert atomic.read_jsonl(path) == [{"a": 1}, {"b": 3}]
    assert atomic.read_jsonl(path, size=size) == [{"a": 1}]
    with pytest.raises(Corrupt, match="recorded"):
        atomic.append_jsonl(path, [], at=10_000)


def test_jsonl_bad_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\nnot json\n{"b":2}\n')
    with pytest.raises(Corrupt, match="line 2"):
        atomic.read_jsonl(path)


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=100), max_size=6))
def test_objects_put_get(tmp_path_factory, blobs):
    objects = Objects(Store(tmp_path_factory.mktemp("objects")))
    shas = [objects.put(b) for b in blobs]
    assert shas == [sha256(b) for b in blobs]
    assert [objects.get(s) for s in shas] == blobs
    assert list(objects) == sorted(set(shas))
    assert all(objects.has(s) and objects.size(s) == len(b) for s, b in zip(shas, blobs, strict=True))


def test_damaged_object_is_named_and_put_heals_it(store):
    objects = Objects(store)
    data = b"some state" * 5
    sha = objects.put(data)
    path = objects.path(sha)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(Corrupt, match=sha[:12]):
            objects.get(sha)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(Corrupt, match="SHA-256"):
        objects.get(sha)
    assert objects.put(data) == sha
    assert objects.get(sha) == data


@pytest.mark.parametrize("bad", ["", "abc", "../../etc/passwd", "A" * 64, "g" * 64, "0" * 63, "0" * 65, None])
def test_bad_object_ids(store, bad):
    with pytest.raises(FastweightsError, match="SHA-256"):
        Objects(store).get(bad)


def test_missing_object(store):
    with pytest.raises(NotFound, match="0" * 64):
        Objects(store).get("0" * 64)
    assert not store.root.exists()
