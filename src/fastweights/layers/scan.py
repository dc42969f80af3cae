"""The gated linear recurrence ``s_t = a_t * s_{t-1} + u_t``, forward and backward each one pass over time.

Legend: B sequences, T time, D channels. Slow twin: :func:`fastweights.layers.naive.scan`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.layers.compiled import compiled

Array = NDArray[np.floating[Any]]


class _Scan(torch.autograd.Function):
    """Both directions of time, so that the backward pass is the same function again (and twice differentiable)."""

    @staticmethod
    def forward(a_BTD: Tensor, u_BTD: Tensor, s0_BD: Tensor, reverse: bool) -> Tensor:
        s_BTD = torch.empty_like(u_BTD, memory_format=torch.contiguous_format)
        if s_BTD.device.type == "cpu" and s_BTD.dtype in (torch.float32, torch.float64):
            a, u, s = (x.detach().contiguous().flatten(2).numpy() for x in (a_BTD, u_BTD, s_BTD))
            _recur(a, u, s0_BD.detach().contiguous().flatten(1).numpy(), s, reverse)
            return s_BTD
        steps = list(zip(a_BTD.unbind(1), u_BTD.unbind(1), s_BTD.unbind(1), strict=True))
        before_BD = s0_BD
        for a_BD, u_BD, s_BD in reversed(steps) if reverse else steps:
            torch.mul(a_BD, before_BD, out=s_BD).add_(u_BD)  # not addcmul: its fused rounding drifts from the loop's
            before_BD = s_BD
        return s_BTD

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
        a_BTD, _, s0_BD, ctx.reverse = inputs
        ctx.save_for_backward(a_BTD, s0_BD, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (g_BTD,) = grads
        a_BTD, s0_BD, s_BTD = ctx.saved_tensors
        first = slice(-1, None) if ctx.reverse else slice(0, 1)
        # du_t = g_t + a_{t+1} du_{t+1}: the same recurrence, the other way in time, its decay shifted by one step.
        if ctx.reverse:
            shifted_BTD = torch.cat([torch.zeros_like(a_BTD[:, :1]), a_BTD[:, :-1]], dim=1)
            before_BTD = torch.cat([s_BTD[:, 1:], s0_BD.unsqueeze(1)], dim=1)
        else:
            shifted_BTD = torch.cat([a_BTD[:, 1:], torch.zeros_like(a_BTD[:, :1])], dim=1)
            before_BTD = torch.cat([s0_BD.unsqueeze(1), s_BTD[:, :-1]], dim=1)
        du_BTD = _apply(shifted_BTD, g_BTD, torch.zeros_like(s0_BD), not ctx.reverse)
        ds0_BD = (a_BTD[:, first] * du_BTD[:, first]).squeeze(1)
        return du_BTD * before_BTD, du_BTD, ds0_BD, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        """Sequences never mix, so a batched dimension folds into B."""
        n = info.batch_size
        a, u, s0 = (
            (x.unsqueeze(0).expand(n, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)
            for x, dim in zip(args[:3], in_dims[:3], strict=True)
        )
        return _apply(a, u, s0, args[3]).unflatten(0, (n, -1)), 0


@compiled
def _recur(a_BTD: Array, u_BTD: Array, s0_BD: Array, s_BTD: Array, reverse: bool) -> None:
    B, T, D = s_BTD.shape
    for b in range(B):
        before_D = s0_BD[b]
        for i in range(T):
            t = T - 1 - i if reverse else i
            for d in range(D):
                s_BTD[b, t, d] = a_BTD[b, t, d] * before_D[d] + u_BTD[b, t, d]
            before_D = s_BTD[b, t]


def _apply(a_BTD: Tensor, u_BTD: Tensor, s0_BD: Tensor, reverse: bool) -> Tensor:
    if not torch.is_grad_enabled() and not torch._C._are_functorch_transforms_active():
        return _Scan.forward(a_BTD, u_BTD, s0_BD, reverse)  # to apply a Function takes longer than a chunk's loop
    out = _Scan.apply(a_BTD, u_BTD, s0_BD, reverse)
    assert isinstance(out, Tensor)
    return out


def scan(a_BTD: Tensor, u_BTD: Tensor, s0_BD: Tensor) -> Tensor:
    """All states ``s_1 … s_T`` of ``s_t = a_t * s_{t-1} + u_t`` from ``s_0``, bit for bit those of the loop.

    Floating tensors of one dtype; the last state ``s_BTD[:, -1]`` is the ``s0_BD`` of the next call. Exact for any
    ``a`` (no division, no logarithm). Differentiable twice, and under ``torch.func.vmap``.
    """
    if a_BTD.shape != u_BTD.shape or s0_BD.shape != (u_BTD.shape[0], *u_BTD.shape[2:]):
        raise ValueError(
            f"scan: shapes a {tuple(a_BTD.shape)}, u {tuple(u_BTD.shape)}, s0 {tuple(s0_BD.shape)} "
            "must be (B, T, D), (B, T, D), (B, D)"
        )
    return _apply(a_BTD, u_BTD, s0_BD, False)


def steady_scan(a_D: Tensor, u_BTD: Tensor, s0_BD: Tensor) -> Tensor:
    """:func:`scan` with one decay for all of time, in about ``log2 T`` passes instead of T steps.

    Each pass doubles how far back a state reaches (Hillis & Steele, 1986): ``s_t += a^k s_{t-k}`` for k = 1, 2, 4, …
    No division, so a decay of any size is safe. Equal to the loop up to rounding; differentiable as it stands.
    """
    s_BTD = torch.cat([(u_BTD[:, 0] + a_D * s0_BD).unsqueeze(1), u_BTD[:, 1:]], dim=1)
    back, power_D = 1, a_D
    while back < u_BTD.shape[1]:
        s_BTD = torch.cat([s_BTD[:, :back], torch.addcmul(s_BTD[:, back:], power_D, s_BTD[:, :-back])], dim=1)
        back, power_D = 2 * back, power_D * power_D
    return s_BTD
