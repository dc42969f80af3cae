"""Random, untrained models saved in a store: quick to make, real in every other way."""

import torch

from fastweights.data.tokenizer import ByteTokenizer
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.tensors import save_tensors


def save_random_model(store: Store, model_id: str = "tiny", *, seed: int = 0, status: str = "ready", **config) -> str:
    """A byte-level TinyLM of a few thousand parameters with a random head, so that its answers depend on its state."""
    sizes = TinyLMConfig(**{"vocab_size": ByteTokenizer.vocab_size, "dim": 16, "layers": 1, **config})
    torch.manual_seed(seed)
    model = TinyLM(sizes)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    models = Models(store, store.path("nowhere"))  # no shipped starter, so that the id `starter` is free
    folder = models.create(model_id, {"status": "training", "kind": "tiny_lm", "seed": seed, "step": 0, "steps": 0})
    atomic.write_json(folder / "config.json", sizes.model_dump(mode="json"))
    ByteTokenizer().save(folder / "tokenizer.json")
    sha = save_tensors(folder / "checkpoint.safetensors", model.state_dict())
    models.update(
        model_id,
        status=status,
        checkpoint_sha256=sha,
        params=sum(p.numel() for p in model.parameters()),
        val_bpb=None,
        preset=None,
        corpus={},
        tokenizer={"kind": "byte", "vocab_size": sizes.vocab_size},
    )
    return model_id
