"""Inner losses, one number a sequence. Shape suffixes: B sequences, T positions, D width, V vocabulary."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fastweights.core.gemm import linear

_SAFE_LOG = 60.0  # sums of exponentials within e^+-60 are far from fp32's limits
_ROWS, _TILE = 128, 1 << 18  # logits held at a time: 1 MB in fp32, a core's cache
_LOG2_E = 1.4426950408889634  # exp(x) as 2^(x log2 e): torch's exp2 takes a fifth of its exp's time here


def cross_entropy_B(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean next-token cross entropy of each sequence over the masked-in positions, nats per token: ``[B]``.

    A sequence without any counted position has loss 0 (and no gradient).
    """
    nats_BT = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none").view_as(targets_BT)
    mask_BT = mask_BT.to(nats_BT.dtype)
    return (nats_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)


def head_loss_and_grad(
    h_BTD: Tensor,
    weight_VD: Tensor,
    bias_V: Tensor | None,
    targets_BT: Tensor,
    mask_BT: Tensor,
    *,
    grad: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """:func:`cross_entropy_B` of the head's logits, and its gradient for the head's input, in closed form.

    ``(loss_B, g_BTD)`` with ``g = mask / n * (softmax @ weight - weight[target])``; ``g`` is None unless ``grad``. Two
    GEMMs over the vocabulary and one pass of exponentials in place, where autograd makes four passes and keeps copies.
    No graph.
    """
    B, T, D = h_BTD.shape
    h_ND, targets_N = h_BTD.reshape(B * T, D), targets_BT.reshape(-1)
    rows_ND = weight_VD[targets_N]
    target_N = (h_ND * rows_ND).sum(1)
    if bias_V is not None:
        target_N = target_N + bias_V[targets_N]
    sum_N, pull_ND = _exponential_sums(h_ND, weight_VD, bias_V, grad)
    log_N = sum_N.log()
    if not bool((log_N.abs() < _SAFE_LOG).all()):  # a logit too large for exp: once more, shifted by the row's largest
        scores_NV = F.linear(h_ND, weight_VD, bias_V)
        shift_N = scores_NV.amax(1)
        sum_N = scores_NV.sub_(shift_N[:, None]).exp_().sum(1)
        log_N = sum_N.log() + shift_N
        pull_ND = scores_NV @ weight_VD
    mask_BT = mask_BT.to(log_N.dtype)
    scale_BT = mask_BT / mask_BT.sum(1, keepdim=True).clamp(min=1)
    loss_B = ((log_N - target_N).view(B, T) * scale_BT).sum(1)
    if not grad:
        return loss_B, None
    g_ND = torch.addcdiv(-rows_ND, pull_ND, sum_N[:, None])
    return loss_B, g_ND.view(B, T, D) * scale_BT.unsqueeze(-1)


def _exponential_sums(h_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, pull: bool) -> tuple[Tensor, Tensor]:
    """``(sum_v e_nv, sum_v e_nv weight_v)`` with ``e = exp(h @ weight.T + bias)``; the latter is 0 unless ``pull``.

    In tiles of the logits, whose exponentials never leave the core's cache; no two tiles are held at once.
    """
    h_ND = h_ND * _LOG2_E
    sum_N, pull_ND = h_ND.new_zeros(h_ND.shape[0]), torch.zeros_like(h_ND)
    tiles = max(1, -(-weight_VD.shape[0] * min(h_ND.shape[0], _ROWS) // _TILE))
    weights = weight_VD.chunk(tiles)
    biases = [None] * len(weights) if bias_V is None else (bias_V * _LOG2_E).chunk(tiles)
    for rows in zip(h_ND.split(_ROWS), sum_N.split(_ROWS), pull_ND.split(_ROWS), strict=True):
        for part_VD, part_V in zip(weights, biases, strict=True):
            _add_tile(*rows, part_VD, part_V, pull)
    return sum_N, pull_ND


def _add_tile(
    h_ND: Tensor, sum_N: Tensor, pull_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, pull: bool
) -> None:
    e_NV = linear(h_ND, weight_VD, bias_V)
    torch.exp2(e_NV, out=e_NV)
    sum_N += e_NV.sum(1)
    if pull:
        pull_ND += linear(e_NV, weight_VD.T)
