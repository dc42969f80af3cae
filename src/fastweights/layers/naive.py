"""The slow, obvious twin of every fast path of this package: one step at a time, autograd's own backward.

Legend: B sequences, T time, D channels, K taps, N orders.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.layers.ngram import MIXER, MULTIPLIER, PRIME
from fastweights.layers.ssm import SSM


def scan(a_BTD: Tensor, u_BTD: Tensor, s0_BD: Tensor) -> Tensor:
    """Twin of :func:`fastweights.layers.scan.scan`."""
    s_BD = s0_BD
    states = []
    for t in range(u_BTD.shape[1]):
        s_BD = a_BTD[:, t] * s_BD + u_BTD[:, t]
        states.append(s_BD)
    return torch.stack(states, dim=1)


def causal_conv(x_BTD: Tensor, weight_KD: Tensor, past_BKD: Tensor) -> Tensor:
    """Twin of :class:`fastweights.layers.conv.CausalConv`."""
    inputs = [*past_BKD.unbind(1), *x_BTD.unbind(1)]
    taps = weight_KD.shape[0]
    outputs = []
    for t in range(x_BTD.shape[1]):
        now = t + taps - 1
        outputs.append(sum((weight_KD[k] * inputs[now - k] for k in range(taps)), torch.zeros_like(inputs[now])))
    return torch.stack(outputs, dim=1)


def ssm(layer: SSM, x_BTD: Tensor) -> Tensor:
    """Twin of :class:`fastweights.layers.ssm.SSM`, from an empty carry."""
    carry = layer.init_carry(x_BTD.shape[0])
    x_BTD = causal_conv(x_BTD, layer.conv.weight, carry["conv"])
    z_BTD, f_BTD, g_BTD = layer.project(x_BTD).chunk(3, dim=-1)
    a_BTD = torch.sigmoid(f_BTD)
    return layer.out(scan(a_BTD, (1 - a_BTD) * z_BTD, carry["state"]) * F.silu(g_BTD))


def ngram_rows(tokens: Sequence[int], orders: Sequence[int], size: int) -> list[list[int]]:
    """Twin of :meth:`fastweights.layers.ngram.NGramEmbedding.rows`: one sequence, rows (T, N), in Python integers."""
    rows = []
    for t in range(len(tokens)):
        row = []
        for order in orders:
            value = 0
            for back in range(order):
                token = tokens[t - back] + 1 if t >= back else 0
                value = (value * MULTIPLIER + token) % PRIME
            row.append((value * MIXER + order - 1) % PRIME % size)
        rows.append(row)
    return rows
