"""A run in a store: its files, its log, how it stops, how it goes on."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastweights.data.corpus import Corpus
from fastweights.errors import Conflict, FastweightsError, NotFound
from fastweights.evals.perplexity import perplexity
from fastweights.models.device import threads_for
from fastweights.models.registry import load_model
from fastweights.services.records import TrainPoint
from fastweights.store.locks import Locks
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.train.checkpoint import checkpoint_steps, load_checkpoint
from fastweights.train.config import TrainConfig
from fastweights.train.hooks import Hooks
from fastweights.train.loop import train
from fastweights.train.places import find_ckpt_dir
from fastweights.train.trainer import Diverged, Trainer

from .conftest import BYTE

Make = Callable[..., TrainConfig]


@pytest.fixture
def go(store: Store, corpus: Corpus) -> Callable[..., dict[str, Any]]:
    def run(config: TrainConfig, model_id: str = "m", **rest: Any) -> dict[str, Any]:
        return train(config, store, model_id=model_id, corpus=corpus, tokenizer=BYTE, **rest)

    return run


def log(store: Store, model_id: str = "m") -> list[dict[str, Any]]:
    text = (store.root / "text_models" / model_id / "train_log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def weights(store: Store, model_id: str = "m") -> bytes:
    return (store.root / "text_models" / model_id / "checkpoint.safetensors").read_bytes()


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def stop_at(step: int) -> Hooks:
    at = [0]
    return Hooks(step=lambda s: at.__setitem__(0, s), stop=lambda: "SIGTERM" if at[0] >= step else None)


def test_what_a_run_leaves(go, config: Make, store: Store, corpus: Corpus) -> None:
    result = go(config(), preset="laptop")
    folder = store.root / "text_models" / "m"
    assert {path.name for path in folder.iterdir()} >= {
        "manifest.json", "config.json", "tokenizer.json", "train_log.jsonl", "checkpoint.safetensors", "ckpt",
    }  # fmt: skip
    manifest = Models(store).get("m")
    for key, value in {
        "kind": "tiny_lm",
        "status": "ready",
        "step": 20,
        "steps": 20,
        "seed": 0,
        "preset": "laptop",
        "parent": None,
        "tokenizer": {"kind": "byte", "vocab_size": 258},
        "params": result["params"],
        "val_bpb": result["val_bpb"],
    }.items():
        assert manifest[key] == value, key
    assert manifest["corpus"]["sha256"] == corpus.sha256
    assert manifest["corpus"]["name"] == "sonnets.txt"
    assert TrainConfig.model_validate(manifest["train_config"]) == config()
    assert checkpoint_steps(folder / "ckpt") == [20, 18]
    assert load_model(folder).manifest == manifest


def test_the_log(go, config: Make, store: Store) -> None:
    points: list[dict[str, Any]] = []
    go(config(), hooks=Hooks(point=points.append))
    rows = [TrainPoint.model_validate(row) for row in log(store)]
    assert [
        {**row.model_dump(include={*point}), "steps": 20} for row, point in zip(rows, points, strict=True)
    ] == points
    assert [row.step for row in rows] == [1, 5, 8, 10, 15, 16, 20]
    assert [row.step for row in rows if row.val_bpb is not None] == [8, 16, 20]
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].eta_s == 0
    assert all(a.cpu_seconds <= b.cpu_seconds for a, b in itertools.pairwise(rows))


def test_the_figure_is_that_of_eval_ppl(go, config: Make, store: Store, corpus: Corpus, tmp_path: Path) -> None:
    """Same definition, same cut: on the whole file's held-out part, and on a file of just that part."""
    result = go(config())
    model = load_model(store.root / "text_models" / "m")
    text = Path(corpus.name).read_bytes()
    (tmp_path / "tail.txt").write_bytes(text[int(len(text) * 0.9) :])
    for path, split in ((Path(corpus.name), "heldout"), (tmp_path / "tail.txt", "all")):
        found = perplexity(model.lm, model.tokenizer, path, split=split)  # pyright: ignore[reportArgumentType]
        assert found.bits_per_byte == result["val_bpb"]
        assert found.bytes == result["val_bytes"] == corpus.val_bytes


def test_ten_and_ten_steps_are_twenty(go, config: Make, store: Store) -> None:
    go(config(), "whole")
    go(config(steps=10, schedule_steps=20), "parts")
    go(config(steps=20, schedule_steps=20), "parts", resume=load_checkpoint(find_ckpt_dir(store, "parts")))
    assert weights(store, "parts") == weights(store, "whole")
    whole = {row["step"]: row["loss"] for row in log(store, "whole")}
    parts = {row["step"]: row["loss"] for row in log(store, "parts")}
    assert parts == whole


@pytest.mark.parametrize("backbone", ["ssm", "gru"])
@pytest.mark.parametrize("stop", [1, 7, 8, 12])  # 1: a row is due; 8: a look; 12: a checkpoint
def test_a_stopped_run_goes_on_as_if_it_had_not(go, config: Make, store: Store, stop: int, backbone: str) -> None:
    cfg = config(model={"backbone": backbone})
    go(cfg, "whole")
    result = go(cfg, "parts", hooks=stop_at(stop))
    assert (result["status"], result["step"], result["val_bpb"]) == ("interrupted", stop, None)
    assert Models(store).get("parts")["status"] == "interrupted"
    assert not (store.root / "text_models" / "parts" / "checkpoint.safetensors").exists()
    ended = go(cfg, "parts", resume=load_checkpoint(find_ckpt_dir(store, "parts")))
    assert ended["status"] == "ready"
    assert weights(store, "parts") == weights(store, "whole")
    keys = ("step", "loss", "val_bpb", "grad_norm", "lr")
    assert [[row[k] for k in keys] for row in log(store, "parts")] == [
        [row[k] for k in keys] for row in log(store, "whole")
    ]


def test_a_run_that_died_goes_on_from_its_last_checkpoint(
    go, config: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows written after that checkpoint are dropped, so that no step is told twice."""
    go(config(), "whole")
    real = Trainer.advance

    def dies_at_17(self: Trainer) -> None:
        if self.step == 16:
            raise MemoryError("out of memory")
        real(self)

    monkeypatch.setattr(Trainer, "advance", dies_at_17)
    with pytest.raises(MemoryError):
        go(config())
    assert Models(store).get("m")["status"] == "failed"
    assert Models(store).get("m")["error"] == "out of memory"
    assert [row["step"] for row in log(store)] == [1, 5, 8, 10, 15, 16]
    monkeypatch.undo()
    checkpoint = load_checkpoint(find_ckpt_dir(store, "m"))
    assert checkpoint.step == 12
    go(config(), resume=checkpoint)
    assert weights(store) == weights(store, "whole")
    assert [row["step"] for row in log(store)] == [row["step"] for row in log(store, "whole")]
    assert Models(store).get("m")["error"] is None


def test_divergence_keeps_the_last_checkpoint(go, config: Make, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Trainer.advance

    def diverges(self: Trainer) -> None:
        if self.step == 14:
            self.model.head.weight.data[0] = float("nan")
        real(self)

    monkeypatch.setattr(Trainer, "advance", diverges)
    with pytest.raises(Diverged, match=r"at step 15 .*; the checkpoint of step 12 stays"):
        go(config())
    assert Models(store).get("m")["status"] == "failed"
    assert load_checkpoint(find_ckpt_dir(store, "m")).step == 12


def test_divergence_before_any_checkpoint_promises_none(
    go, config: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(self: Trainer) -> None:
        self._need_finite(float("nan"), 1.0)

    monkeypatch.setattr(Trainer, "advance", diverges)
    with pytest.raises(Diverged) as info:
        go(config())
    assert "checkpoint" not in str(info.value)


def test_an_id_that_is_taken(go, config: Make, store: Store) -> None:
    go(config(steps=1))
    with pytest.raises(Conflict, match="model 'm' exists: choose another --model-id, or go on with --resume m"):
        go(config(steps=1))


def test_a_run_that_cannot_start_leaves_no_model(go, config: Make, store: Store) -> None:
    with pytest.raises(FastweightsError, match="shorter than one sequence"):
        go(config(batch_size=512))
    assert not (store.root / "text_models").exists()


def test_a_finished_run_with_nothing_left_to_do_stays_as_it_is(go, config: Make, store: Store) -> None:
    first = go(config(steps=3))
    folder = store.root / "text_models" / "m"
    before = files(folder)
    again = go(config(steps=3), resume=load_checkpoint(find_ckpt_dir(store, "m")))
    kept = ("model_id", "status", "step", "loss", "val_bpb", "params_sha256")
    assert [again[k] for k in kept] == [first[k] for k in kept]
    assert (first["resumed_step"], again["resumed_step"]) == (None, 3)
    assert {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    } == before


def test_two_cannot_train_one_model(go, config: Make, store: Store) -> None:
    go(config(steps=3))
    lock = store.root / "text_models" / "m" / "train.lock"
    with Locks().hold(lock, "model 'm'", "training it"), pytest.raises(Conflict, match="model 'm' is busy"):
        go(config(steps=5), resume=load_checkpoint(find_ckpt_dir(store, "m")))


def test_checkpoints_elsewhere(go, config: Make, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    go(config(steps=3), ckpt_dir=place)
    assert find_ckpt_dir(store, "m") == place
    assert find_ckpt_dir(store, str(place)) == place
    assert checkpoint_steps(place) == [3, 0]
    assert not (store.root / "text_models" / "m" / "ckpt").exists()


def test_resume_finds_an_id_or_a_folder(go, config: Make, store: Store, tmp_path: Path) -> None:
    go(config(steps=3))
    ckpt = store.root / "text_models" / "m" / "ckpt"
    assert (
        find_ckpt_dir(store, "m") == find_ckpt_dir(store, str(ckpt)) == find_ckpt_dir(store, str(ckpt.parent)) == ckpt
    )
    with pytest.raises(NotFound, match="no model 'nothere'"):
        find_ckpt_dir(store, "nothere")
    with pytest.raises(FastweightsError, match="no checkpoint in this folder"):
        find_ckpt_dir(store, str(tmp_path))
    with pytest.raises(FastweightsError, match="not valid"):
        find_ckpt_dir(store, "../x")


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_for(1_000_000) == 1
    assert threads_for(1_000_000, wanted=3) == 3
    monkeypatch.setenv("FASTWEIGHTS_THREADS", "2")
    assert threads_for(100_000_000, wanted=3) == 2
    monkeypatch.setenv("FASTWEIGHTS_THREADS", "many")
    with pytest.raises(FastweightsError, match="FASTWEIGHTS_THREADS='many' is not a positive number"):
        threads_for(1)


def test_fewer_steps_than_the_checkpoint_has(go, config: Make, store: Store) -> None:
    go(config(), hooks=stop_at(9))
    with pytest.raises(FastweightsError, match="steps 5: the checkpoint is at step 9; give a larger --steps"):
        go(config(steps=5), resume=load_checkpoint(find_ckpt_dir(store, "m")))
