"""Model folders, and the starter that is always there."""

import psutil
import pytest

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.models import Models


@pytest.fixture
def shipped(tmp_path):
    folder = tmp_path / "package" / "starter"
    folder.mkdir(parents=True)
    atomic.write_json(folder / "manifest.json", {"id": "starter", "status": "ready", "created_at": "2020"})
    (folder / "checkpoint.safetensors").write_bytes(b"w")
    return folder


@pytest.fixture
def models(store, shipped):
    return Models(store, shipped)


def make(models, name, **fields):
    folder = models.create(name, fields)
    (folder / "checkpoint.safetensors").write_bytes(b"w")


def test_starter_resolves_in_a_missing_root_and_nothing_is_created(models):
    assert models.resolve(None) == models.resolve("starter") == "starter"
    assert [m["id"] for m in models.list()] == ["starter"]
    assert models.get("starter")["status"] == "ready"
    assert models.is_shipped("starter")
    assert not models.store.root.exists()
    for write in (lambda: models.update("starter", status="failed"), lambda: models.delete("starter")):
        with pytest.raises(Conflict, match="ships with the package"):
            write()
    assert models.shipped.is_dir()


def test_a_starter_in_the_store_wins_but_none_is_made_beside_the_shipped_one(store, models, tmp_path):
    with pytest.raises(Conflict, match="stands for the model that ships"):
        models.create("starter", {})
    assert not models.store.root.exists()
    make(Models(store, tmp_path / "nowhere"), "starter", status="ready")
    assert not models.is_shipped("starter")
    assert models.path("starter") == models.store.root / "text_models" / "starter"
    assert [m["id"] for m in models.list()] == ["starter"]


def test_the_latest_ready_model_is_the_default_never_a_candidate(models):
    make(models, "old", status="ready", created_at="2021")
    make(models, "new", status="ready", created_at="2022")
    make(models, "candidate", status="sleep_candidate", created_at="2023")
    make(models, "broken", status="failed", created_at="2024")
    models.create("busy", {"created_at": "2025"})
    assert models.resolve(None) == "new"
    assert models.resolve("candidate") == "candidate"
    with pytest.raises(Conflict, match="no weights yet"):
        models.resolve("busy")
    with pytest.raises(NotFound, match="'gone'"):
        models.resolve("gone")
    assert [m["id"] for m in models.list()] == ["busy", "broken", "candidate", "new", "old", "starter"]
    (models.path("new") / "checkpoint.safetensors").unlink()
    assert models.resolve(None) == "old"


def test_without_a_shipped_starter_the_error_says_so(store, tmp_path):
    models = Models(store, tmp_path / "nowhere")
    assert models.list() == []
    with pytest.raises(NotFound, match="no starter model in"):
        models.resolve(None)


def test_create_update_delete(models):
    models.create("m1", {"params": 3})
    with pytest.raises(Conflict, match="exists"):
        models.create("m1", {})
    assert models.update("m1", status="ready", step=5)["step"] == 5
    manifest = models.get("m1")
    assert (manifest["id"], manifest["status"], manifest["params"], manifest["step"]) == ("m1", "ready", 3, 5)
    with pytest.raises(FastweightsError, match="status 'done'"):
        models.update("m1", status="done")
    with pytest.raises(FastweightsError, match="cannot change"):
        models.update("m1", id="m2")
    models.delete("m1")
    with pytest.raises(NotFound):
        models.get("m1")
    assert list(models.store.path("text_models").iterdir()) == []


def test_delete_frees_an_id_that_damage_blocks_and_refuses_what_must_stay(models):
    make(models, "bad", status="ready")
    (models.path("bad") / "manifest.json").write_bytes(b"{")
    models.delete("bad")
    models.store.path("text_models", "half").mkdir()  # no manifest at all
    models.delete("half")
    for gone in ("bad", "half", "never"):
        with pytest.raises(NotFound):
            models.delete(gone)
    with pytest.raises(Conflict, match="ships with the package"):
        models.delete("starter")
    folder = models.create("busy", {})
    me = psutil.Process()
    atomic.write_json(folder / "job.json", {"pid": me.pid, "create_time": me.create_time()})
    with pytest.raises(Conflict, match=f"trained by process {me.pid}"):
        models.delete("busy")
    atomic.write_json(folder / "job.json", {"pid": me.pid, "create_time": 1.0})
    models.delete("busy")


def test_damaged_manifests_are_named_and_left_out_of_lists(models):
    make(models, "good", status="ready")
    make(models, "bad", status="ready")
    path = models.path("bad") / "manifest.json"
    whole = path.read_bytes()
    for size in range(0, len(whole) - 2, 5):
        path.write_bytes(whole[:size])
        with pytest.raises(Corrupt, match=r"manifest.json"):
            models.get("bad")
        assert [m["id"] for m in models.list()] == ["good", "starter"]
    for field, value in {
        "step": "abc",
        "params": 1.5,
        "seed": True,
        "corpus": [],
        "preset": 3,
        "status": "odd",
    }.items():
        atomic.write_json(path, {"id": "bad", "status": "ready", "created_at": "x", field: value})
        with pytest.raises(Corrupt, match=f"{field}"):
            models.get("bad")
        assert list(models.damaged()) == ["bad"]
        assert [m["id"] for m in models.list()] == ["good", "starter"]
    atomic.write_json(path, {"id": "good", "status": "ready", "created_at": "x"})
    with pytest.raises(Corrupt, match="folder 'bad'"):
        models.get("bad")


@pytest.mark.parametrize("bad", ["../x", "", "A", "a/b", None])
def test_bad_ids(models, bad):
    with pytest.raises(FastweightsError):
        models.get(bad)
    with pytest.raises(FastweightsError):
        models.create(bad, {})
    assert not models.store.root.exists()
