"""The kinds of language model, by the ``kind`` of their config. Torch-free; ``registry.build`` makes the model."""

from collections.abc import Mapping
from typing import Any

from fastweights.errors import FastweightsError
from fastweights.hints import near_miss, validate
from fastweights.models import e2e_config, ttt_lm_config
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.models.ttt_lm_config import TTTLMConfig

ModelConfig = TinyLMConfig | TTTLMConfig | E2EConfig
"""Any of :data:`CONFIGS`."""

CONFIGS: dict[str, type[TinyLMConfig] | type[TTTLMConfig] | type[E2EConfig]] = {
    "tiny_lm": TinyLMConfig,
    "ttt_lm": TTTLMConfig,
    "e2e": E2EConfig,
}

SIZES: dict[str, TTTLMConfig | E2EConfig] = {**ttt_lm_config.PRESETS, **e2e_config.PRESETS}
"""Sizes by name, of all kinds that have some."""


def model_config(fields: Mapping[str, Any], source: str = "model") -> ModelConfig:
    """The config that ``fields`` (with ``kind``; none: tiny_lm) describe; errors name ``source`` and the field."""
    kind = fields.get("kind", "tiny_lm")
    if kind not in CONFIGS:
        raise FastweightsError(f"{source}: kind {kind!r} does not exist{near_miss(str(kind), CONFIGS)}")
    return validate(CONFIGS[kind], fields, source)
