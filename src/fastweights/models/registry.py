"""From a model's folder to a model that is ready to read: every file checked, nothing pickled."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fastweights.data.tokenizer import Tokenizer, load_tokenizer
from fastweights.errors import Corrupt, FastweightsError
from fastweights.models.e2e import E2ETransformer
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.kinds import ModelConfig, model_config
from fastweights.models.sparse_rows import dense_rows
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.models.ttt_lm import TTTLM
from fastweights.store import atomic
from fastweights.store.tensors import load_tensors

LanguageModel = TinyLM | TTTLM | E2ETransformer
"""What :func:`build` makes, by the config's kind: both read and predict through the same methods."""


def build(config: ModelConfig) -> LanguageModel:
    """A new model of the config's kind, on the default device, with fresh weights from torch's generator."""
    if isinstance(config, E2EConfig):
        return E2ETransformer(config)
    return TinyLM(config) if isinstance(config, TinyLMConfig) else TTTLM(config)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A frozen model in eval mode, its tokenizer and its manifest."""

    model_id: str
    lm: LanguageModel
    tokenizer: Tokenizer
    manifest: dict[str, Any]

    @property
    def checkpoint_sha256(self) -> str:
        return self.manifest["checkpoint_sha256"]


def load_model(folder: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Read ``config.json``, ``tokenizer.json``, ``manifest.json`` and ``checkpoint.safetensors``.

    Half-precision files become fp32, tables of few rows (:mod:`~fastweights.models.sparse_rows`) whole ones. Raises
    :class:`Corrupt` naming the file and the mismatch.
    """
    manifest = atomic.read_json(folder / "manifest.json")
    source = folder / "config.json"
    fields = atomic.read_json(source)
    try:
        config = model_config(fields, repr(str(source)))
    except FastweightsError as error:
        raise Corrupt(str(error)) from None
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    if tokenizer.vocab_size != config.vocab_size:
        raise Corrupt(
            f"{str(folder)!r}: the tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}: "
            "one of the two files belongs to another model"
        )
    with torch.random.fork_rng(devices=[]):  # (the meta device would load sympy: 80 MB)
        lm = build(config)
    file = folder / "checkpoint.safetensors"
    tensors, _ = load_tensors(file, manifest.get("checkpoint_sha256"))
    wanted = lm.state_dict()
    try:
        tensors = dense_rows(tensors, wanted)
    except ValueError as error:
        raise Corrupt(f"{str(file)!r}: {error}") from None
    for name in sorted(wanted.keys() | tensors.keys()):
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        expected = tuple(wanted[name].shape) if name in wanted else "unexpected"
        if found != expected:
            raise Corrupt(f"{str(file)!r}: tensor {name!r} is {found}, the config says {expected}")
    lm.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, assign=True)
    return LoadedModel(manifest["id"], lm.to(device).eval().requires_grad_(False), tokenizer, manifest)
