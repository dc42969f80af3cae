"""Small TinyLMs whose every weight matters, for the tests beside this file."""

from typing import Any

import torch

from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig

CONFIGS: dict[str, dict[str, Any]] = {
    "ssm": {},
    "ssm-one-tap": {"conv_taps": 1, "mlp_hidden": 8},
    "gru": {"backbone": "gru"},
    "ngrams": {"ngram_orders": (2, 3, 5), "ngram_rows": 512, "ngram_width": 8},
}


def build(name: str, dtype: torch.dtype = torch.float64) -> TinyLM:
    """A model whose every weight matters (fresh ones start at zero)."""
    model = TinyLM(TinyLMConfig(vocab_size=20, dim=16, layers=2, **CONFIGS[name]))
    gen = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=gen) * 0.3
    return model.to(dtype)


def tokens(batch: int = 3, length: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 20, (batch, length), generator=torch.Generator().manual_seed(seed))
