"""The official TTT-Linear language model (Transformer backbone), plainly: a twin that ``bench ttt --model`` measures.

Functions of a :class:`TTTLM` of the official variant, whose parameters they share: every operation spelled out as torch
has it, chunks by :mod:`fastweights.layers.naive_ttt_official`, decoding by accumulated gradients of the open chunk.

Legend: B sequences, T time, V vocabulary, D channels, H heads, d width of a head, L tokens of a chunk.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.errors import Unsupported
from fastweights.layers.naive_ttt_official import Norm, dual, layer_norm, pull
from fastweights.layers.ttt import TTTLayer
from fastweights.models.ttt_lm import TTTLM, Block


class Open(NamedTuple):
    """A layer's state in decoding: the anchor and the sums of its open chunk's steps; ``[B, H, …]``."""

    w: Tensor
    b: Tensor
    dw: Tensor
    db: Tensor


def need_plain(model: TTTLM) -> None:
    """Raises :class:`Unsupported` where this twin has no words for the model."""
    m = model.config.mixer
    known = m.inner == "linear" and m.bias and m.ln_affine and m.post_norm and m.rope_mod_chunk and m.row == "learned"
    if not known or m.strict or m.gate or m.share_qk_conv or m.pre_conv or model.config.attention is not None:
        raise Unsupported("the plain twin is of the official TTT-Linear without gate and convolutions only")


def plain_logits(model: TTTLM, tokens_BT: Tensor) -> Tensor:
    """Logits ``[B, T, V]`` from a fresh state. Raises ValueError unless T is a multiple of the chunk."""
    if tokens_BT.shape[1] % model.config.mixer.chunk:
        raise ValueError(f"T={tokens_BT.shape[1]} must be a multiple of chunk={model.config.mixer.chunk}")
    x = F.embedding(tokens_BT, model.embedding.weight)
    for block in model.blocks:
        x = x + _mix(block.mixer, _rms(x, block.mixer_norm))
        x = x + _mlp(block, _rms(x, block.mlp_norm))
    return F.linear(_rms(x, model.norm), model.head.weight)


def plain_start(model: TTTLM, batch: int) -> list[Open]:
    """Each layer's state before any token."""
    layers = [block.mixer for block in model.blocks]
    fast = [
        (m.get_parameter("W1").repeat(batch, 1, 1, 1), m.get_parameter("b1").repeat(batch, 1, 1, 1)) for m in layers
    ]
    return [Open(w, b, torch.zeros_like(w), torch.zeros_like(b)) for w, b in fast]


def plain_decode(model: TTTLM, token_B1: Tensor, states: list[Open], position: int) -> tuple[Tensor, list[Open]]:
    """``(logits_B1V, states)`` of one token, equal to :func:`plain_logits` there."""
    x, after = F.embedding(token_B1, model.embedding.weight), []
    for block, state in zip(model.blocks, states, strict=True):
        y, state = _step(block.mixer, _rms(x, block.mixer_norm), state, position % model.config.mixer.chunk)
        x = x + y
        x = x + _mlp(block, _rms(x, block.mlp_norm))
        after.append(state)
    return F.linear(_rms(x, model.norm), model.head.weight), after


def _rms(x: Tensor, norm: torch.nn.RMSNorm) -> Tensor:
    return norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + (norm.eps or 0.0)))


def _mlp(block: Block, x: Tensor) -> Tensor:
    mlp = block.mlp
    return F.linear(F.silu(F.linear(x, mlp.gate.weight)) * F.linear(x, mlp.up.weight), mlp.down.weight)


def _turned(x_BHTd: Tensor, place_T: Tensor, theta: float) -> Tensor:
    """Each pair of channels turned by its place in the chunk."""
    d = x_BHTd.shape[-1]
    angle = place_T[:, None] * theta ** (-torch.arange(0, d, 2, device=x_BHTd.device) / d)
    cos, sin, even, odd = angle.cos(), angle.sin(), x_BHTd[..., 0::2], x_BHTd[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2).to(x_BHTd.dtype)


def _qkv(m: TTTLayer, x_BTD: Tensor, place_T: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``q, k, v [B, H, T, d]`` and the rates ``[B, H, T]``."""
    assert m.k is not None
    B, T, _ = x_BTD.shape
    heads = (B, T, m.config.heads, m.config.head_dim)
    q, k, v = (F.linear(x_BTD, part.weight).view(heads).transpose(1, 2) for part in (m.q, m.k, m.v))
    q, k = _turned(q, place_T, m.config.rope_theta), _turned(k, place_T, m.config.rope_theta)
    rate = torch.sigmoid(F.linear(x_BTD, m.rate_weight, m.rate_bias)) * m.config.col_scale
    return q, k, v, rate.transpose(1, 2)


def _rows(m: TTTLayer) -> Tensor:
    assert m.row_offset is not None
    places = torch.arange(1, m.config.chunk + 1, device=m.row_offset.device)
    return (1.0 / places + m.row_offset).clamp(min=0.0)


def _norm(m: TTTLayer) -> Norm:
    assert m.ln_gain is not None
    assert m.ln_bias is not None
    return Norm(m.ln_gain.unsqueeze(1), m.ln_bias.unsqueeze(1))


def _out(m: TTTLayer, y_BHTd: Tensor) -> Tensor:
    assert m.post_norm is not None
    return F.linear(m.post_norm(y_BHTd.transpose(1, 2).flatten(2)), m.o.weight)


def _mix(m: TTTLayer, x_BTD: Tensor) -> Tensor:
    L, B = m.config.chunk, x_BTD.shape[0]
    q, k, v, rate_BHT = _qkv(m, x_BTD, torch.arange(x_BTD.shape[1], device=x_BTD.device) % L)
    q, k, v = (x.unflatten(2, (-1, L)).permute(2, 0, 1, 3, 4) for x in (q, k, v))
    eta = _rows(m)[:, None] * rate_BHT.unflatten(2, (-1, L)).permute(2, 0, 1, 3).unsqueeze(-2)
    w, b = (m.get_parameter(name).repeat(B, 1, 1, 1) for name in ("W1", "b1"))
    y, _, _ = dual(w, b, q, k, v, eta, _norm(m))
    return _out(m, y.permute(1, 2, 0, 3, 4).flatten(2, 3))


def _step(m: TTTLayer, x_B1D: Tensor, state: Open, place: int) -> tuple[Tensor, Open]:
    q, k, v, rate_BH1 = _qkv(m, x_B1D, torch.tensor([place], device=x_B1D.device))
    norm, row = _norm(m), _rows(m)[place]
    u = pull(k @ state.w + state.b, v - k, norm) * rate_BH1.unsqueeze(-1)
    dw, db = state.dw + k.transpose(-2, -1) @ u, state.db + u
    w, b = state.w - row * dw, state.b - row * db
    y = _out(m, q + layer_norm(q @ w + b, norm))
    if place == m.config.chunk - 1:
        return y, Open(w, b, torch.zeros_like(dw), torch.zeros_like(db))
    return y, state._replace(dw=dw, db=db)
