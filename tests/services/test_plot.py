"""``plot``: pictures with the numbers in them, of plain and of meta runs."""

import csv
import json
from pathlib import Path

import pytest

from fastweights.cli import main
from fastweights.services import plot as service
from fastweights.services.plot import plot
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.root import Store

ROW = {"grad_norm": 1.0, "lr": 0.1, "tokens_per_s": 9.0, "eta_s": 0.0, "cpu_seconds": 1.0}
pytest.importorskip("matplotlib")


def run(store: Store, model_id: str, *rows: dict) -> str:
    folder = Models(store).create(model_id, {"status": "training", "kind": "e2e", "step": 0, "steps": 4})
    atomic.append_jsonl(folder / "train_log.jsonl", [{**ROW, "step": i, **row} for i, row in enumerate(rows)])
    return model_id


def table(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


def pictures(files: list[Path]) -> list[str]:
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files if path.suffix == ".png")
    return sorted(path.name for path in files)


def test_a_plain_run(store: Store, tmp_path: Path) -> None:
    run(store, "plain", {"loss": 3.0}, {"loss": 2.0, "val_bpb": 2.5}, {"loss": None})
    files = plot(store, "plain", tmp_path / "out")
    assert pictures(files) == ["loss_curves.csv", "loss_curves.png"]
    rows = table(tmp_path / "out" / "loss_curves.csv")  # a row whose loss was not finite is none
    assert [(row["step"], row["loss"], row["val_bpb"]) for row in rows] == [("0", "3.0", ""), ("1", "2.0", "2.5")]


def test_a_kv_run(store: Store, tmp_path: Path) -> None:
    look = {"loss": 1.0, "val_bpb": 3.0, "near": 0.5, "inner_loss_off": [2.0, 2.1]}
    looks = [{**look, "far": far, "inner_loss": [2.0, loss]} for far, loss in ((0.0, None), (1.0, 0.5))]
    run(store, "kv", looks[0], {"loss": 0.5}, looks[1])
    files = plot(store, "kv", tmp_path)
    names = ["meta_eval_acc.csv", "meta_eval_acc.png", "meta_inner_loss.csv"]
    assert pictures(files) == [*names, "meta_loss_curves.csv", "meta_loss_curves.png"]
    assert [(row["step"], row["far"], row["near"]) for row in table(tmp_path / names[0])] == [
        ("0", "0.0", "0.5"),
        ("2", "1.0", "0.5"),
    ]
    inner = table(tmp_path / "meta_inner_loss.csv")
    assert len(inner) == 8
    assert inner[5] == {"step": "2", "updates": "on", "chunk": "2", "nats_per_token": "0.5"}


def test_a_meta_run_on_text(store: Store, tmp_path: Path) -> None:
    run(store, "text", *({"loss": 1.0, "val_bpb": bits, "val_bpb_off": 4.0} for bits in (4.0, 3.0)))
    wanted = ["meta_eval_bpb.csv", "meta_eval_bpb.png", "meta_loss_curves.csv", "meta_loss_curves.png"]
    assert pictures(plot(store, "text", tmp_path)) == wanted


def test_the_command(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, "plain", {"loss": 3.0})
    run(store, "empty")
    call = ["plot", f"--root={store.root}", "--json", f"--out={tmp_path}"]
    assert main.run([*call, "plain"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 2
    for other, says in (("empty", "no row in its log"), ("none", "none")):
        assert main.run([*call, other]) == 2
        assert says in capsys.readouterr().err
    monkeypatch.setattr(service, "can_plot", lambda: False)
    assert main.run([*call, "plain"]) == 2
    assert "fastweights[report]" in capsys.readouterr().err
