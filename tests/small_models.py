"""Random, untrained models saved in a store: quick to make, real in every other way."""

from typing import Any

import torch

from fastweights.data.ids_tokenizer import IdsTokenizer
from fastweights.data.tokenizer import ByteTokenizer, Tokenizer
from fastweights.models.registry import LanguageModel
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.tensors import save_tensors


def save_model(
    store: Store, model_id: str, lm: LanguageModel, *, text: bool = True, status: str = "ready", **manifest: Any
) -> str:
    """``text=False``: it has no tokenizer, and reads token ids alone."""
    vocab = lm.config.vocab_size
    tokenizer: Tokenizer = ByteTokenizer() if text else IdsTokenizer(vocab, 1, 2)
    models = Models(store, store.path("nowhere"))  # no shipped starter, so that the id `starter` is free
    config = lm.config.model_dump(mode="json")
    folder = models.create(model_id, {"status": "training", "kind": config["kind"], "step": 0, "steps": 0})
    atomic.write_json(folder / "config.json", config)
    tokenizer.save(folder / "tokenizer.json")
    models.update(
        model_id,
        status=status,
        checkpoint_sha256=save_tensors(folder / "checkpoint.safetensors", lm.state_dict()),
        params=sum(p.numel() for p in lm.parameters()),
        tokenizer={"kind": tokenizer.kind, "vocab_size": vocab},
        **manifest,
    )
    return model_id


def save_random_model(store: Store, model_id: str = "tiny", *, seed: int = 0, status: str = "ready", **config) -> str:
    """A byte-level TinyLM of a few thousand parameters with a random head, so that its answers depend on its state."""
    sizes = TinyLMConfig(**{"vocab_size": ByteTokenizer.vocab_size, "dim": 16, "layers": 1, **config})
    torch.manual_seed(seed)
    lm = TinyLM(sizes)
    torch.nn.init.normal_(lm.head.weight, std=0.3)
    return save_model(store, model_id, lm, status=status, seed=seed)
