"""Hashed n-gram embeddings: one row for each of the last 2, 3, … tokens, in a table that all n-grams share by hashing.

Legend: B sequences, T time, N orders, R rows, W width, D channels, P tokens of past.
Twin: :func:`fastweights.layers.naive.ngram_rows`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PRIME = 2147483647  # 2^31 - 1: products of two residues stay below 2^62, exact in int64 everywhere
MULTIPLIER = 1103515245
MIXER = 1812433253 % PRIME


class NGramEmbedding(nn.Module):
    """For each of N orders n, a learned row of the last n tokens (the current one included), side by side, projected.

    ``weight`` is (R, W), zero at the start: an n-gram never seen adds nothing, and rows grow with what was seen of
    them. ``project`` maps N * W to D. ``sparse_grad`` (set by the trainer) makes the table's gradient a sparse tensor.
    """

    def __init__(self, orders: Sequence[int], rows: int, width: int, dim: int) -> None:
        super().__init__()
        self.orders = tuple(orders)
        self.sparse_grad = False
        self.weight = nn.Parameter(torch.zeros(rows, width))
        self.project = nn.Linear(len(self.orders) * width, dim, bias=False)
        nn.init.normal_(self.project.weight, std=self.project.in_features**-0.5)

    def init_carry(self, batch: int) -> Tensor:
        """The tokens before the first: (B, P) int64, each plus one, 0 where there is none; P = max order - 1."""
        return torch.zeros(batch, max(self.orders) - 1, dtype=torch.int64, device=self.weight.device)

    def rows(self, tokens_BT: Tensor, past_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Table rows ``(B, T, N)`` int64, and the past for the next call."""
        T = tokens_BT.shape[1]
        P = past_BP.shape[1]
        padded_BS = torch.cat([past_BP, tokens_BT.to(torch.int64) + 1], dim=1)
        hash_BT = torch.zeros_like(padded_BS[:, P:])
        rows: list[Tensor] = []
        for back in range(P + 1):
            hash_BT = (hash_BT * MULTIPLIER + padded_BS[:, P - back : P - back + T]) % PRIME
            if back + 1 in self.orders:
                rows.append((hash_BT * MIXER + back) % PRIME % len(self.weight))
        return torch.stack(rows, dim=-1), padded_BS[:, T:]

    def forward(self, tokens_BT: Tensor, past_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``(e_BTD, past_BP)``."""
        rows_BTN, past_BP = self.rows(tokens_BT, past_BP)
        e_BTNW = F.embedding(rows_BTN, self.weight, sparse=self.sparse_grad)
        return self.project(e_BTNW.flatten(-2)), past_BP
