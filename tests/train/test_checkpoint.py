"""Checkpoints: whole or not at all; a damaged last one falls back on the one before."""

from pathlib import Path

import pytest
import torch

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.train.checkpoint import checkpoint_owner, checkpoint_steps, load_checkpoint, save_checkpoint


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        save_checkpoint(folder, step, {"a.b": torch.full((3,), float(step))}, {"at": step, "x": 0.1})


def test_the_newest_comes_back(tmp_path: Path) -> None:
    save(tmp_path, 5, 10)
    found = load_checkpoint(tmp_path)
    assert (found.step, found.meta, found.notices) == (10, {"at": 10, "x": 0.1}, ())
    assert found.tensors["a.b"].tolist() == [10, 10, 10]


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 5, 10, 99_999, 100_000)
    assert checkpoint_steps(tmp_path) == [100_000, 99_999]
    assert len(list(tmp_path.iterdir())) == 4


def test_what_differs_between_equal_runs_stays_out_of_the_hash(tmp_path: Path) -> None:
    paths = [
        save_checkpoint(tmp_path / name, 5, {"a": torch.ones(2)}, {"run": {"config": 1}}, {"model_id": name})
        for name in ("one", "two")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert load_checkpoint(tmp_path / "two").meta == {"run": {"config": 1, "model_id": "two"}}
    assert checkpoint_owner(tmp_path / "two") == "two"
    save_checkpoint(tmp_path / "old", 5, {"a": torch.ones(2)}, {"run": {"model_id": "was"}})
    assert checkpoint_owner(tmp_path / "old") == "was"
    assert checkpoint_owner(tmp_path / "nowhere") is None


def damage(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "flipped":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "gone"])
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_damaged_last_one_falls_back_with_a_notice(tmp_path: Path, how: str, suffix: str) -> None:
    save(tmp_path, 5, 10)
    damage(tmp_path / f"step-00000010{suffix}", how)
    found = load_checkpoint(tmp_path)
    assert found.step == 5
    if (suffix, how) != (".json", "gone"):  # without its sidecar it was never finished
        assert len(found.notices) == 1
        assert "step 10 is damaged" in found.notices[0]


def test_none_and_none_whole(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFound, match="no checkpoint in"):
            load_checkpoint(folder)
    save(tmp_path, 5, 10)
    for step in (5, 10):
        damage(tmp_path / f"step-{step:08d}.safetensors", "truncated")
    with pytest.raises(Corrupt, match=r"every checkpoint in .* is damaged"):
        load_checkpoint(tmp_path)


def test_what_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    save(tmp_path, 5)
    with pytest.raises(FastweightsError, match=r"a\.b.*non-finite"):
        save_checkpoint(tmp_path, 6, {"a.b": torch.tensor([float("nan")])}, {})
    assert load_checkpoint(tmp_path).step == 5
