"""``nano run``, ``nano pretrain`` and ``eval nano`` as a user types them, and the files they leave."""

import csv
import json
import sys
from pathlib import Path

import pytest

from fastweights.cli.main import run
from fastweights.errors import Corrupt
from fastweights.services.nano.runs import NanoService
from fastweights.store.root import Store


def _strict(text: str):
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the first call made the base models."""
    return tmp_path_factory.mktemp("nano")


@pytest.fixture
def call(root: Path, capsys: pytest.CaptureFixture[str]):
    def _call(*line: str) -> tuple[int, str, str]:
        code = run([*line, "--root", str(root)])
        out, err = capsys.readouterr()
        return code, out, err

    return _call


def test_pretrain_makes_both_bases(call, root: Path) -> None:
    code, out, _ = call("nano", "pretrain", "--steps", "300", "--worlds", "64", "--json")
    assert code == 0
    linear, nonlinear = _strict(out)
    assert (linear["mode"], nonlinear["mode"]) == ("linear", "nonlinear")
    assert linear["plastic_parameters"] == 736
    assert _strict((root / "base" / "linear" / "base_meta.json").read_text()) == linear
    assert (root / "base" / "nonlinear" / "base_checkpoint.safetensors").is_file()

    code, out, _ = call("nano", "pretrain", "--mode", "linear", "--steps", "300", "--worlds", "64", "--json")
    assert code == 0
    assert _strict(out)["checkpoint_sha256"] == linear["checkpoint_sha256"]  # the same seed, the same weights


@pytest.mark.parametrize("mode", ["linear", "nonlinear"])
def test_run(call, mode: str) -> None:
    line = ("nano", "run", "--steps", "200", "--seed", "5", "--mode", mode, "--json")
    code, out, _ = call(*line)
    assert code == 0
    found = _strict(out)
    assert found["oracle_mse"] < 1e-20
    assert found["adaptive_mse"] < found["frozen_mse"]
    assert found["commits"] + found["rollbacks"] == 6
    assert found["mean_mu_mse"] > 0
    assert found["refit_mse"] > 0
    assert found["cpu_seconds"] > 0

    folder = Path(found["files"][0]).parent
    assert {path.name for path in folder.iterdir()} == {Path(name).name for name in found["files"]}
    assert _strict((folder / "summary.json").read_text()) == found
    assert (folder / "plot.png").read_bytes()[:4] == b"\x89PNG"
    rows = [*csv.DictReader((folder / "per_step.csv").read_text().splitlines())]
    assert [*rows[0]][:5] == ["t", "baseline_mse", "adaptive_mse", "did_update", "update_ok"]
    assert [int(row["t"]) for row in rows] == [*range(1, 201)]
    for name in ("baseline", "adaptive"):
        mean = sum(float(row[f"{name}_mse"]) for row in rows) / 200
        assert mean == pytest.approx(found["frozen_mse" if name == "baseline" else "adaptive_mse"], rel=1e-12)
    updates = _strict((folder / "update_events.json").read_text())
    assert [u["t"] for u in updates] == [int(r["t"]) for r in rows if r["did_update"] == "1"] == [*range(32, 193, 32)]
    assert sum(u["status"] == "committed" for u in updates) == found["commits"]
    assert all(u["pre_loss"] > 0 and u["post_loss"] >= 0 and u["post_max_h"] > 0 for u in updates)

    code, out, _ = call(*line, "--no-plot")
    again = _strict(out)
    for name in ("frozen_mse", "adaptive_mse", "oracle_mse", "mean_mu_mse", "refit_mse", "commits", "rollbacks"):
        assert again[name] == found[name]
    assert not any(name.endswith("plot.png") for name in again["files"])


def test_last_100_of_a_short_run_are_all_of_it(call) -> None:
    _, out, _ = call("nano", "run", "--steps", "40", "--rule", "sgd", "--no-plot", "--json")
    found = _strict(out)
    assert found["last_100_frozen_mse"] == pytest.approx(found["frozen_mse"])


def test_without_matplotlib_there_is_a_notice_and_no_picture(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = call("nano", "run", "--steps", "64", "--json")
    assert code == 0
    assert "matplotlib is not installed" in err
    assert not any(name.endswith(".png") for name in _strict(out)["files"])


def test_an_option_that_the_rule_does_not_know_is_noted(call) -> None:
    _, out, err = call("nano", "run", "--steps", "32", "--lr", "0.1", "--no-plot", "--json")
    assert _strict(out)["notes"] == ["rule rls does not look at lr"]
    assert "rule rls does not look at lr" in err
    _, out, _ = call("nano", "run", "--steps", "32", "--rule", "sgd", "--lr", "0.1", "--no-plot", "--json")
    assert _strict(out)["notes"] == []


def test_text_and_errors(call) -> None:
    code, out, _ = call("nano", "run", "--steps", "64", "--no-plot")
    assert code == 0
    assert "of the gap to the oracle closed" in out
    for line, words in (
        (("nano", "run", "--steps", "0"), "steps"),
        (("nano", "run", "--noise", "-1"), "noise"),
        (("nano", "run", "--replay", "100"), "multiple of 32"),
        (("nano", "run", "--mu", "nan"), "mu"),
        (("nano", "run", "--mode", "cubic"), "mode"),
        (("eval", "nano", "--seeds", "0"), "seeds"),
    ):
        code, out, err = call(*line)
        assert (code, out) == (2, ""), line
        assert words in err
        assert len(err.splitlines()) == 1


def test_sessions(call, root: Path) -> None:
    def one(*line: str):
        code, out, _ = call("nano", "session", *line, "--json")
        assert code == 0, out
        return _strict(out)

    made = one("new", "--name", "s1", "--seed", "3", "--rule", "muon", "--noise", "0.1")
    assert (made["session_id"], made["options"]["learning"]["rule"], made["n_turns"]) == ("s1", "muon", 0)
    run_ = one("run", "s1", "--steps", "100")
    assert (run_["to_step"], run_["committed"] + run_["blocked"] + run_["rolled_back"]) == (100, 3)
    assert one("fork", "s1", "--name", "s2", "--no-momentum")["parent_session"] == "s1"
    one("run", "s2", "--steps", "50")
    assert [s["session_id"] for s in one("ls")] == ["s2", "s1"]
    assert [r["steps"] for r in one("show", "s2")["runs"]] == [100, 50]
    assert [c["kind"] for c in one("log", "s2")] == ["run", "fork", "run", "init"]
    assert one("diff", "s1", "--other", "s2")["l2"] > 0
    one("tag", "s2", "here")
    assert one("checkout", "s2", "init")["n_turns"] == 0
    one("checkout", "s2", "here")
    assert one("reset", "s2")["n_turns"] == 0
    assert one("verify", "s2")["verified"] == 5
    code, out, _ = call("nano", "session", "show", "s1")
    assert "session, with updates" in out
    assert "linear world 3" in out
    for line, words in ((("run", "s3"), "no session 's3'"), (("run", "s1", "--steps", "0"), "steps")):
        code, out, err = call("nano", "session", *line)
        assert (code, out) == (2, "")
        assert words in err


def test_a_listing_says_what_it_leaves_out(call, root: Path) -> None:
    for name in ("broken", "whole"):
        assert call("nano", "session", "new", "--name", name)[0] == 0
    meta = root / "sessions" / "broken" / "meta.json"
    data = meta.read_bytes()
    meta.write_bytes(data[:50])
    code, out, err = call("nano", "session", "ls", "--json")
    meta.write_bytes(data)
    assert code == 0
    assert {"whole"} <= {s["session_id"] for s in _strict(out)}
    assert "broken" not in out
    assert "session broken is left out" in err
    assert "fsck" in err
    assert call("nano", "session", "ls")[2] == ""


def test_eval(call) -> None:
    code, out, _ = call("eval", "nano", "--seeds", "3", "--steps", "320", "--json")
    assert code == 0
    found = _strict(out)
    assert found["default_rule"] == "rls"
    assert [(s["rule"], s["mode"]) for s in found["scores"]] == [
        (rule, mode) for rule in ("rls", "muon", "sgd") for mode in ("linear", "nonlinear")
    ]
    for one in found["scores"]:
        assert one["runs"] == len(one["per_seed"]) == 3
        assert [run["seed"] for run in one["per_seed"]] == [1000, 1001, 1002]
        assert one["gap_closed_ci"][0] <= one["gap_closed"] <= one["gap_closed_ci"][1]
    code, out, _ = call("eval", "nano", "--seeds", "2", "--seed", "7", "--steps", "64", "--rule", "rls")
    assert code == 0
    assert "seeds 7 to 8" in out


def test_a_damaged_base_is_named(store: Store) -> None:
    service = NanoService(store)
    record = service.base("linear").record
    file = store.root / "base" / "linear" / "base_checkpoint.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(Corrupt, match=r"base_checkpoint.*nano pretrain --mode linear"):
        service.base("linear")
    file.unlink()
    with pytest.raises(Corrupt, match=r"base_checkpoint.*nano pretrain --mode linear"):
        service.base("linear")
    assert service.pretrain("linear").checkpoint_sha256 == record.checkpoint_sha256
    (store.root / "base" / "linear" / "base_meta.json").write_text('{"mode": "linear"}')
    with pytest.raises(Corrupt, match="nano pretrain"):
        service.base("linear")
