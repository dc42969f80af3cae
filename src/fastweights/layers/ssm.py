"""Selective diagonal recurrence in the spirit of minGRU: decay and input depend on the token, states never mix.

Legend: B sequences, T time, D channels. Slow twin: :func:`fastweights.layers.naive.ssm`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.layers.conv import CausalConv
from fastweights.layers.mlp import MLP
from fastweights.layers.scan import scan

Carry = dict[str, Tensor]


class SSM(nn.Module):
    """``s_t = a_t s_{t-1} + (1 - a_t) z_t``, read through a gate.

    ``z, f, g`` are linear in the causally convolved input, ``a = sigmoid(f)``, and the output is ``out(s * silu(g))``.
    Channels start with time scales from about 1 to 100 steps. The carry is ``{"conv": (B, K-1, D), "state": (B, D)}``.
    """

    def __init__(self, dim: int, taps: int) -> None:
        super().__init__()
        self.conv = CausalConv(dim, taps)
        self.project = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim, bias=False)
        with torch.no_grad():
            self.project.bias.zero_()
            self.project.bias[dim : 2 * dim] = torch.linspace(0.0, 4.6, dim)
        nn.init.zeros_(self.out.weight)

    def init_carry(self, batch: int) -> Carry:
        """The state before any token: zeros."""
        return {"conv": self.conv.init_carry(batch), "state": self.out.weight.new_zeros(batch, self.out.in_features)}

    def forward(self, x_BTD: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Returns ``(y_BTD, carry)``; the state is kept in the carry's dtype (fp32) under autocast too."""
        x_BTD, past = self.conv(x_BTD, carry["conv"])
        z_BTD, f_BTD, g_BTD = self.project(x_BTD).chunk(3, dim=-1)
        state_BD = carry["state"]
        a_BTD = torch.sigmoid(f_BTD).to(state_BD.dtype)
        u_BTD = torch.addcmul(z_BTD, a_BTD, z_BTD, value=-1).to(state_BD.dtype)
        s_BTD = scan(a_BTD, u_BTD, state_BD)
        y_BTD = self.out(s_BTD * F.silu(g_BTD))
        return y_BTD, {"conv": past, "state": s_BTD[:, -1]}


class SSMBlock(nn.Module):
    """Pre-norm residual block: the recurrence, then the feed-forward network."""

    def __init__(self, dim: int, taps: int, mlp_hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)
        self.mixer = SSM(dim, taps)
        self.mlp_norm = nn.LayerNorm(dim, bias=False)
        self.mlp = MLP(dim, mlp_hidden)
        self.dropout = nn.Dropout(dropout)

    def init_carry(self, batch: int) -> Carry:
        return self.mixer.init_carry(batch)

    def forward(self, x_BTD: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        y_BTD, carry = self.mixer(self.norm(x_BTD), carry)
        x_BTD = x_BTD + self.dropout(y_BTD)
        return x_BTD + self.dropout(self.mlp(self.mlp_norm(x_BTD))), carry
