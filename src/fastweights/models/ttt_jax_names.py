"""Names and layouts of the JAX TTT-LM's parameters, turned into those of the official PyTorch state dict."""

import re
from collections.abc import Callable

from torch import Tensor

Convert = Callable[[Tensor], Tensor]


def _as_is(t: Tensor) -> Tensor:
    return t


def _transposed(t: Tensor) -> Tensor:
    return t.T


def _conv_kernel(t: Tensor) -> Tensor:
    return t.permute(2, 1, 0)


_GLOBAL: dict[str, tuple[str, Convert]] = {
    "model.wte.embedding": ("model.embed_tokens.weight", _as_is),
    "model.ln_f.kernel": ("model.norm.weight", _as_is),
    "lm_head.kernel": ("lm_head.weight", _transposed),
}
_BLOCK: dict[str, tuple[str, Convert]] = {
    **{f"seq_modeling_block.w{a}.kernel": (f"seq_modeling_block.{a}_proj.weight", _transposed) for a in "qkvog"},
    "feed_forward.w1.kernel": ("mlp.gate_proj.weight", _transposed),
    "feed_forward.w2.kernel": ("mlp.down_proj.weight", _transposed),
    "feed_forward.w3.kernel": ("mlp.up_proj.weight", _transposed),
    **{f"seq_modeling_block.ttt_dense_{i}": (f"seq_modeling_block.W{i + 1}", _as_is) for i in (0, 1)},
    **{f"seq_modeling_block.ttt_bias_{i}": (f"seq_modeling_block.b{i + 1}", _as_is) for i in (0, 1)},
    "seq_modeling_block.ttt_norm.scale": ("seq_modeling_block.ttt_norm_weight", _as_is),
    "seq_modeling_block.ttt_norm.bias": ("seq_modeling_block.ttt_norm_bias", _as_is),
    "seq_modeling_block.post_norm.scale": ("seq_modeling_block.post_norm.weight", _as_is),
    "seq_modeling_block.post_norm.bias": ("seq_modeling_block.post_norm.bias", _as_is),
    "seq_modeling_block.learnable_ttt_lr.kernel": (
        "seq_modeling_block.learnable_ttt_lr_weight",
        lambda t: t.transpose(-1, -2),
    ),
    "seq_modeling_block.learnable_ttt_lr.bias": ("seq_modeling_block.learnable_ttt_lr_bias", _as_is),
    "seq_modeling_block.learnable_token_idx": ("seq_modeling_block.learnable_token_idx", _as_is),
    **{f"seq_modeling_block.conv_{a}.kernel": (f"seq_modeling_block.conv_{a}.weight", _conv_kernel) for a in "qk"},
    **{f"seq_modeling_block.conv_{a}.bias": (f"seq_modeling_block.conv_{a}.bias", _as_is) for a in "qk"},
    "conv.conv_norm.kernel": ("conv.norm.weight", _as_is),
    "conv.conv1.kernel": ("conv.conv.weight", _conv_kernel),
    "conv.conv1.bias": ("conv.conv.bias", _as_is),
    "seq_norm.kernel": ("seq_norm.weight", _as_is),
    "ffn_norm.kernel": ("ffn_norm.weight", _as_is),
}


def from_jax(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """JAX names and layouts to those of the official PyTorch state dict. Names that are PyTorch's already stay."""
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = re.sub(r"^(params\.)+", "", name.replace("/", "."))
        found = re.fullmatch(r"model\.h\.(?:blocks\.)?(\d+)\.(.+)", plain)
        theirs = _BLOCK.get(found[2]) if found else _GLOBAL.get(plain)
        if theirs is None:
            out[plain] = tensor
        else:
            out[f"model.layers.{found[1]}.{theirs[0]}" if found else theirs[0]] = theirs[1](tensor)
    return out
