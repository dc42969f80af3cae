"""Gated recurrent unit, its cell written out: ``nn.GRU`` fails under ``vmap(functional_call)`` with batched weights.

Legend: B sequences, T time, D channels. Twin: ``torch.nn.GRU`` (same equations, same weight layout).
"""

import torch
from torch import Tensor, nn

Carry = dict[str, Tensor]


class GRU(nn.Module):
    """One layer; rows of ``input`` and ``recurrent`` are reset, update, new, as in ``torch.nn.GRU``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.input = nn.Linear(dim, 3 * dim)
        self.recurrent = nn.Linear(dim, 3 * dim)

    def init_carry(self, batch: int) -> Carry:
        """The state before any token: zeros ``{"state": (B, D)}``."""
        return {"state": self.input.weight.new_zeros(batch, self.input.in_features)}

    def forward(self, x_BTD: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        h_BD = carry["state"]
        states: list[Tensor] = []
        for xr_BD, xz_BD, xn_BD in zip(*(part.unbind(1) for part in self.input(x_BTD).chunk(3, dim=-1)), strict=True):
            hr_BD, hz_BD, hn_BD = self.recurrent(h_BD).chunk(3, dim=-1)
            reset_BD = torch.sigmoid(xr_BD + hr_BD)
            update_BD = torch.sigmoid(xz_BD + hz_BD)
            new_BD = torch.tanh(xn_BD + reset_BD * hn_BD)
            h_BD = torch.lerp(new_BD, h_BD, update_BD)
            states.append(h_BD)
        return torch.stack(states, dim=1), {"state": h_BD}


class GRUBlock(nn.Module):
    """Pre-norm residual block around one :class:`GRU`."""

    def __init__(self, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, bias=False)
        self.mixer = GRU(dim)
        self.dropout = nn.Dropout(dropout)

    def init_carry(self, batch: int) -> Carry:
        return self.mixer.init_carry(batch)

    def forward(self, x_BTD: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        y_BTD, carry = self.mixer(self.norm(x_BTD), carry)
        return x_BTD + self.dropout(y_BTD), carry
