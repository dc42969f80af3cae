"""Random, untrained TTT-E2E models: a few thousand parameters whose fast weights matter for every answer."""

from typing import Any

import torch

from fastweights.data.tokenizer import ByteTokenizer
from fastweights.models.e2e import E2ETransformer
from fastweights.models.e2e_config import E2EConfig, InnerConfig
from fastweights.store.root import Store
from tests.small_models import save_model

CHUNK, WINDOW = 8, 11


def random_e2e(*, vocab: int = ByteTokenizer.vocab_size, **changes: Any) -> E2ETransformer:
    """In eval mode. Two suffix blocks, one prefix block; ``changes``: of the config, those of ``inner`` too."""
    inner = {"chunk": CHUNK, "lr": 0.5, "clip": 1.0}
    inner |= {name: changes.pop(name) for name in [*changes] if name in InnerConfig.model_fields}
    sizes = {"dim": 16, "heads": 2, "layers": 3, "suffix_layers": 2, "mlp_hidden": 24, "prime_hidden": 20}
    config = E2EConfig.model_validate(
        {"vocab_size": vocab, **sizes, "window": WINDOW, "init_std": 0.25, "inner": inner, **changes}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return E2ETransformer(config).eval().requires_grad_(False)


def save_random_e2e(store: Store, model_id: str = "e2e", *, text: bool = True, **of: Any) -> str:
    """The same in a store; ``text=False``: one without a tokenizer."""
    return save_model(store, model_id, random_e2e(**of), text=text)
