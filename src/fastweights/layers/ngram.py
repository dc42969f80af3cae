"""Hashed n-gram embeddings: one row for the last n tokens, in a table that the n-grams share by hashing.

Legend: B sequences, T time, N orders, D channels, P tokens of past. Twin: :func:`fastweights.layers.naive.ngram_rows`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PRIME = 2147483647  # 2^31 - 1: products of two residues stay below 2^62, exact in int64 everywhere
MULTIPLIER = 1103515245
MIXER = 1812433253 % PRIME


class NGramEmbedding(nn.Module):
    """Sum over ``orders`` of a learned row for the last n tokens (the current one included).

    ``weight`` is (len(orders) * buckets, D), zero at the start: an n-gram never seen adds nothing.
    ``sparse_grad`` (set by the trainer) makes its gradient a sparse tensor; the default is dense.
    """

    def __init__(self, orders: Sequence[int], buckets: int, dim: int) -> None:
        super().__init__()
        self.orders = tuple(orders)
        self.buckets = buckets
        self.sparse_grad = False
        self.weight = nn.Parameter(torch.zeros(len(self.orders) * buckets, dim))

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
                offset = self.orders.index(back + 1) * self.buckets
                rows.append(hash_BT * MIXER % PRIME % self.buckets + offset)
        return torch.stack(rows, dim=-1), padded_BS[:, T:]

    def forward(self, tokens_BT: Tensor, past_BP: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``(e_BTD, past_BP)``."""
        rows_BTN, past_BP = self.rows(tokens_BT, past_BP)
        return F.embedding(rows_BTN, self.weight, sparse=self.sparse_grad).sum(dim=2), past_BP
