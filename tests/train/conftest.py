"""A small run that finishes in a fraction of a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fastweights.data.corpus import Corpus, open_corpus
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.train.config import TrainConfig

BYTE = ByteTokenizer()
BASE: dict[str, Any] = {
    "model": {"dim": 16, "layers": 2},
    "seq_len": 24,
    "batch_size": 4,
    "steps": 20,
    "warmup": 3,
    "log_every": 5,
    "eval_every": 8,
    "eval_tokens": 300,
    "save_every": 6,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The first 2 kB of the small corpus: some epochs pass in a run."""
    folder: Path = tmp_path_factory.mktemp("corpus")
    from fastweights.data.sources import find_source

    text = find_source("tiny").train[0].path.read_bytes()[:2000]
    (folder / "sonnets.txt").write_bytes(text)
    return open_corpus(str(folder / "sonnets.txt"), BYTE, folder / "cache")


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    """``config(steps=10, model={"backbone": "gru"})``: the small run with changes."""

    def make(**changes: Any) -> TrainConfig:
        model = {**BASE["model"], **changes.pop("model", {})}
        return TrainConfig.model_validate({**BASE, **changes, "model": model})

    return make
