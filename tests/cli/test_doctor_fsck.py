"""``doctor`` and ``fsck`` as a user calls them."""

import json

import pytest

from fastweights.cli.main import run
from fastweights.services import doctor
from fastweights.store.models import Models
from fastweights.store.sessions import Sessions
from tests.small_models import save_random_model
from tests.store.snapshots import commit_turn, new_session, snapshot


@pytest.fixture
def call(store, capsys):
    def verb(*tokens: str) -> tuple[int, str, str]:
        code = run([*tokens, f"--root={store.root}"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return verb


def test_fsck_finds_repairs_and_collects(store, call):
    sessions = Sessions(store)
    new_session(sessions, "s1")
    commit_turn(sessions, "s1", 1)
    code, out, _ = call("fsck", "--json")
    assert code == 0
    assert json.loads(out)["checked"] == {"objects": 4, "sessions": 1, "models": 0, "runs": 0}

    sessions.path("s1", "trace.jsonl").write_bytes(b"junk")
    code, out, _ = call("fsck", "--json")
    assert code == 1
    report = json.loads(out)
    assert report["ok"] is False
    assert "trace.jsonl" in report["findings"][0]["problem"]
    code, out, _ = call("fsck")
    assert code == 1
    assert "problems remain" in out
    code, out, _ = call("fsck", "--repair")
    assert code == 0
    assert "repaired" in out

    sessions.commits.put("s1", sessions.head("s1"), "turn", snapshot(7), {}, {})  # cut off before the head moved
    code, out, _ = call("fsck", "--gc", "--grace-minutes", "0", "--json")
    assert code == 0
    assert json.loads(out)["collected"] == 2


def test_fsck_of_nothing_creates_nothing(store, call):
    code, out, _ = call("fsck")
    assert code == 0
    assert "clean" in out
    assert not store.root.exists()


def test_doctor_says_what_is_there_and_what_is_not(store, call, monkeypatch):
    save_random_model(store, "starter")  # in place of the shipped one, so that the test holds in any checkout
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    code, out, err = call("doctor", "--json")
    report = json.loads(out)
    checks = {check["name"]: check for check in report["checks"]}
    assert code == 0, err
    assert report["ok"]
    assert not checks["node"]["ok"], "missing, and optional: no failure"
    assert checks["node"]["remedy"]
    assert all(checks[name]["ok"] for name in ("python", "torch", "threads", "device", "store", "starter"))

    path = Models(store).path("starter") / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    code, out, _ = call("doctor")
    assert code == 1
    assert "FAIL  starter" in out
    assert "SHA-256" in out


def test_doctor_reports_a_bad_environment_and_a_store_it_cannot_write(store, call, monkeypatch):
    monkeypatch.setenv("TEXT_LM_DEVICE", "abacus")

    def refuse(**_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    code, out, _ = call("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 1
    assert "abacus" in checks["device"]["detail"]
    assert not checks["store"]["ok"]
    assert not store.root.exists()
