"""Official TTT-LM checkpoints <-> :class:`~fastweights.models.ttt_lm.TTTLM`: PyTorch and JAX names, nothing pickled.

A folder holds ``config.json`` (the official PyTorch config) and the tensors: ``*.safetensors``, ``*.bin`` (read with
``weights_only=True``), or a JAX ``streaming_params`` file. JAX names (``model/h/0/seq_modeling_block/wq/kernel``) are
recognised wherever they stand.
"""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastweights.errors import Corrupt, FastweightsError, NotFound, Unsupported
from fastweights.layers.ttt_config import official
from fastweights.models.flax_stream import read_stream
from fastweights.models.ttt_jax_names import from_jax
from fastweights.models.ttt_lm import TTTLM
from fastweights.models.ttt_lm_config import TTTLMConfig
from fastweights.store import atomic
from fastweights.store.tensors import load_tensors, save_tensors

Convert = Callable[[Tensor], Tensor]


def _taps(w: Tensor) -> Tensor:
    """(D, 1, K), oldest tap first <-> (K, D), newest first."""
    return w.squeeze(1).flip(1).T if w.ndim == 3 else w.T.flip(1).unsqueeze(1)


def _as_is(t: Tensor) -> Tensor:
    return t


def _heads_first(t: Tensor) -> Tensor:
    return t.flatten(1)


def _with_axis(t: Tensor) -> Tensor:
    return t.unsqueeze(1)


_GLOBAL = {
    "model.embed_tokens.weight": "embedding.weight",
    "model.norm.weight": "norm.weight",
    "lm_head.weight": "head.weight",
}
_BLOCK: dict[str, tuple[str, Convert, Convert]] = {
    **{
        f"seq_modeling_block.{theirs}": (f"mixer.{ours}", _as_is, _as_is)
        for theirs, ours in {
            "learnable_token_idx": "row_offset",
            "ttt_norm_weight": "ln_gain",
            "ttt_norm_bias": "ln_bias",
            **{name: name for name in ("W1", "b1", "W2", "b2")},
            **{f"{name}_proj.weight": f"{name}.weight" for name in "qkvo"},
            "g_proj.weight": "gate.weight",
            **{name: name for name in ("post_norm.weight", "post_norm.bias", "conv_q.bias", "conv_k.bias")},
        }.items()
    },
    "seq_modeling_block.learnable_ttt_lr_weight": ("mixer.rate_weight", _heads_first, _with_axis),
    "seq_modeling_block.learnable_ttt_lr_bias": ("mixer.rate_bias", torch.flatten, _with_axis),
    "seq_modeling_block.conv_q.weight": ("mixer.conv_q.weight", _taps, _taps),
    "seq_modeling_block.conv_k.weight": ("mixer.conv_k.weight", _taps, _taps),
    **{f"mlp.{name}_proj.weight": (f"mlp.{name}.weight", _as_is, _as_is) for name in ("gate", "up", "down")},
    "conv.norm.weight": ("conv_norm.weight", _as_is, _as_is),
    "conv.conv.weight": ("conv.weight", _taps, _taps),
    "conv.conv.bias": ("conv.bias", _as_is, _as_is),
    "seq_norm.weight": ("mixer_norm.weight", _as_is, _as_is),
    "ffn_norm.weight": ("mlp_norm.weight", _as_is, _as_is),
}
"""Official name in a layer: ours, from theirs to ours, from ours to theirs."""


# ---------------------------------------------------------------- configs


def config_from_official(fields: dict[str, Any]) -> TTTLMConfig:
    """Our config for the official ``config.json``; its defaults where a field is missing."""
    if fields.get("model_type", "ttt") != "ttt":
        raise Unsupported(f"config.json: model_type {fields['model_type']!r} is not ttt")
    if fields.get("hidden_act", "silu") != "silu":
        raise Unsupported(f"config.json: hidden_act {fields['hidden_act']!r} is not supported: only silu is")
    inner = fields.get("ttt_layer_type", "linear")
    if inner not in ("linear", "mlp"):
        raise Unsupported(f"config.json: ttt_layer_type {inner!r} is not supported: linear or mlp")
    mixer = official(
        inner=inner,
        dim=fields.get("hidden_size", 2048),
        heads=fields.get("num_attention_heads", 32),
        chunk=fields.get("mini_batch_size", 16),
        eta_base=fields.get("ttt_base_lr", 1.0),
        gate=fields.get("use_gate", False),
        share_qk_conv=fields.get("share_qk", False),
        pre_conv=fields.get("pre_conv", False),
        conv_taps=fields.get("conv_kernel", 4),
        rope_theta=fields.get("rope_theta", 10000.0),
        init_std=fields.get("initializer_range", 0.02),
    )
    return TTTLMConfig(
        vocab_size=fields.get("vocab_size", 32000),
        layers=fields.get("num_hidden_layers", 24),
        mixer=mixer,
        mlp_hidden=fields.get("intermediate_size", 5504),
        norm_eps=fields.get("rms_norm_eps", 1e-6),
        tie_head=fields.get("tie_word_embeddings", True),
    )


def config_to_official(config: TTTLMConfig) -> dict[str, Any]:
    """The official ``config.json``; Unsupported where the official code cannot express a switch."""
    m = config.mixer
    same = official(**{name: getattr(m, name) for name in _FREE})
    if wrong := [name for name in type(m).model_fields if getattr(m, name) != getattr(same, name)]:
        raise Unsupported(f"mixer.{wrong[0]}={getattr(m, wrong[0])!r}: the official format has no such variant")
    return {
        "model_type": "ttt",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": m.heads,
        "hidden_act": "silu",
        "initializer_range": m.init_std,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tie_head,
        "rope_theta": m.rope_theta,
        "use_gate": m.gate,
        "share_qk": m.share_qk_conv,
        "ttt_layer_type": m.inner,
        "ttt_base_lr": m.eta_base,
        "mini_batch_size": m.chunk,
        "pre_conv": m.pre_conv,
        "conv_kernel": m.conv_taps,
        "scan_checkpoint_group_size": 0,
    }


_FREE = (
    *("inner", "dim", "heads", "chunk", "eta_base", "gate", "share_qk_conv", "pre_conv", "conv_taps", "rope_theta"),
    *("init_std", "engine"),
)


# ---------------------------------------------------------------- tensors


def from_official(tensors: dict[str, Tensor], config: TTTLMConfig) -> dict[str, Tensor]:
    """Our state dict (fp32) of the official one; Corrupt names what is missing, unknown or misshapen."""
    with torch.device("meta"):
        wanted = TTTLM(config).state_dict()
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = _ours(name)
        if ours is None or ours[0] not in wanted:
            raise Corrupt(f"tensor {name!r} has no place in the model that config.json describes")
        value = ours[1](tensor).float()
        want = wanted[ours[0]].shape
        if value.shape != want and value.numel() == want.numel() and "W" not in ours[0].rpartition(".")[2]:
            value = value.reshape(want)  # JAX keeps vectors of a head with axes of length 1 here and there
        if value.shape != want:
            raise Corrupt(f"tensor {name!r} is {tuple(tensor.shape)}, config.json says {tuple(want)} for {ours[0]!r}")
        out[ours[0]] = value.contiguous()
    if config.tie_head and "embedding.weight" in out:
        out["head.weight"] = out["embedding.weight"]
    if missing := sorted(wanted.keys() - out.keys()):
        raise Corrupt(f"the checkpoint lacks {missing[0]!r} ({len(missing)} in all)")
    return out


def to_official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official PyTorch state dict of ours."""
    theirs = {ours: (name, back) for name, (ours, _, back) in _BLOCK.items()}
    globals_ = {ours: name for name, ours in _GLOBAL.items()}
    out = {}
    for name, tensor in state.items():
        found = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
        if found:
            official_name, back = theirs[found[2]]
            out[f"model.layers.{found[1]}.{official_name}"] = back(tensor).contiguous()
        else:
            out[globals_[name]] = tensor
    return out


def _ours(name: str) -> tuple[str, Convert] | None:
    if name in _GLOBAL:
        return _GLOBAL[name], _as_is
    found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
    if found is None or found[2] not in _BLOCK:
        return None
    ours, convert, _ = _BLOCK[found[2]]
    return f"layers.{found[1]}.{ours}", convert


# ---------------------------------------------------------------- folders


def import_official(folder: Path) -> tuple[TTTLMConfig, dict[str, Tensor]]:
    """Config and state dict (fp32, our names) of an official checkpoint's folder."""
    file = folder / "config.json"
    if not file.is_file():
        raise NotFound(f"{str(file)!r} does not exist: put the official config.json beside the tensors")
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except ValueError as error:
        raise Corrupt(f"{str(file)!r} is not JSON: {error}") from None
    try:
        config = config_from_official(fields)
    except FastweightsError:
        raise
    except ValueError as error:
        raise Corrupt(f"{str(file)!r}: {' '.join(str(error).split())[:300]}") from None
    return config, from_official(from_jax(_read_tensors(folder)), config)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    if files := sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors")):
        for file in files:
            tensors |= load_tensors(file, None)[0]
    elif files := sorted(folder.glob("pytorch_model*.bin")) or sorted(folder.glob("*.bin")):
        for file in files:
            tensors |= _read_bin(file)
    elif files := sorted(folder.glob("streaming_params*")):
        tensors = {"/".join(key): torch.from_numpy(value) for key, value in read_stream(files[-1])}
    if not tensors:
        raise NotFound(f"{str(folder)!r} holds no tensors: *.safetensors, *.bin or streaming_params is read")
    return tensors


def _read_bin(file: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Corrupt(f"{str(file)!r} is not a plain state dict: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise Corrupt(f"{str(file)!r} is not a plain state dict: its values are not all tensors")
    return loaded


def export_official(model: TTTLM, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` as the official PyTorch code reads them."""
    fields = config_to_official(model.config)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / "model.safetensors", to_official(model.state_dict()))
    atomic.write_json(folder / "config.json", fields)
