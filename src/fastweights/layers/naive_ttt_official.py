"""The official TTT-Linear's inner loop, plainly: what benches measure against, and a twin to compare with.

From its published maths (Sun et al., 2024), every operation spelled out and none fused. The loop over chunks indexes
its inputs and writes into one output, as the official code does, so training is quadratic in the length here, too.

Legend: N chunks, B sequences, H heads, L tokens of a chunk, D width of a head. W is ``[B, H, D, D]``, b
``[B, H, 1, D]``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-6


class Norm(NamedTuple):
    """Gain and bias of the inner LayerNorm: ``[H, 1, D]``."""

    gain_H1D: Tensor
    bias_H1D: Tensor


def dual(
    w: Tensor, b: Tensor, q: Tensor, k: Tensor, v: Tensor, eta: Tensor, norm: Norm
) -> tuple[Tensor, Tensor, Tensor]:
    """``(y, w, b)`` of ``q, k, v [N, B, H, L, D]`` and ``eta [N, B, H, L, L]``, entry ij: token j's step as i reads it.

    ``y = q + LN(z)`` like ``q``; every gradient at its chunk's first weights; a token reads its own step, too.
    """
    y = torch.empty_like(q)
    for i in range(q.shape[0]):
        y[i], w, b = _chunk(w, b, q[i], k[i], v[i], eta[i], norm)
    return y, w, b


def _chunk(
    w: Tensor, b: Tensor, q: Tensor, k: Tensor, v: Tensor, eta: Tensor, norm: Norm
) -> tuple[Tensor, Tensor, Tensor]:
    u = pull(k @ w + b, v - k, norm)
    scores = torch.tril(q @ k.transpose(-2, -1))
    z = q @ w - (eta * scores) @ u + (b - torch.tril(eta) @ u)
    last = eta[..., -1, :, None]
    w = w - (last * k).transpose(-2, -1) @ u
    b = b - (last * u).sum(dim=-2, keepdim=True)
    return q + layer_norm(z, norm), w, b


def layer_norm(z: Tensor, norm: Norm) -> Tensor:
    """Over D."""
    mean = z.mean(dim=-1, keepdim=True)
    std = torch.sqrt(z.var(dim=-1, keepdim=True, unbiased=False) + EPS)
    return norm.gain_H1D * ((z - mean) / std) + norm.bias_H1D


def pull(z: Tensor, target: Tensor, norm: Norm) -> Tensor:
    """Gradient for ``z`` of ``|LN(z) - target|² / 2``."""
    D = z.shape[-1]
    mean = z.mean(dim=-1, keepdim=True)
    std = torch.sqrt(z.var(dim=-1, keepdim=True, unbiased=False) + EPS)
    xhat = (z - mean) / std
    g = (norm.gain_H1D * xhat + norm.bias_H1D - target) * norm.gain_H1D
    sums = g.sum(dim=-1, keepdim=True) + xhat * (g * xhat).sum(dim=-1, keepdim=True)
    return (D * g - sums) / (D * std)
