"""A change of few rows of an n-gram table as a small dense parameter: what sleep learns of sparse weights.

Legend: B sequences, T time, N orders, R rows of the table, K rows that may change, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.layers.ngram import NGramEmbedding
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig

CHANGE, PROJECT = "embedding.ngram.change", "embedding.ngram.project.weight"


class RowChange(NGramEmbedding):
    """The table of another embedding, frozen, plus ``change`` (K, W) at the rows ``rows_K``; begins at no change.

    ``blank``: all of the table is 0, so that it need not be looked up.
    """

    rows_K: Tensor
    index_R: Tensor

    def __init__(self, table: NGramEmbedding, dim: int, rows_K: Tensor, *, blank: bool) -> None:
        rows, width = table.weight.shape
        super().__init__(table.orders, 1, width, dim)
        self.weight, self.project, self.blank, self._size = table.weight, table.project, blank, rows
        self.register_buffer("rows_K", rows_K)
        index_R = torch.full((rows,), len(rows_K), dtype=torch.int32)
        index_R[rows_K] = torch.arange(len(rows_K), dtype=torch.int32)
        self.register_buffer("index_R", index_R)
        self.change = nn.Parameter(torch.zeros(len(rows_K), width))

    def forward(self, tokens_BT: Tensor, past_BP: Tensor) -> tuple[Tensor, Tensor]:
        rows_BTN, past_BP = self.rows(tokens_BT, past_BP)
        e_BTNW = F.embedding(self.index_R[rows_BTN], F.pad(self.change, (0, 0, 0, 1)))
        if not self.blank:
            e_BTNW = e_BTNW + F.embedding(rows_BTN, self.weight)
        return self.project(e_BTNW.flatten(-2)), past_BP


def ngram_of(lm: TinyLM, orders: Sequence[int], rows: int, width: int, seed: int) -> tuple[TinyLM, bool]:
    """The model with an n-gram table, and whether that table is new (all 0: it predicts as before)."""
    if lm.embedding.ngram is not None:
        return lm, False
    config = TinyLMConfig.model_validate(
        {**lm.config.model_dump(), "ngram_orders": tuple(orders), "ngram_rows": rows, "ngram_width": width}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        grown = TinyLM(config)
    grown.load_state_dict({**grown.state_dict(), **lm.state_dict()})
    return grown.eval().requires_grad_(False), True


def with_change(lm: TinyLM, rows_K: Tensor, *, blank: bool) -> TinyLM:
    """``lm`` (which has an n-gram table) with a change at ``rows_K`` of it, sharing all other weights with it."""
    assert lm.embedding.ngram is not None
    student = copy.deepcopy(lm, {id(p): p for p in lm.parameters()})
    student.embedding.ngram = RowChange(lm.embedding.ngram, lm.config.dim, rows_K, blank=blank)
    return student.eval()


def merged(student: TinyLM, lm: TinyLM) -> TinyLM:
    """``lm`` with the change written into its table."""
    table = student.embedding.ngram
    assert isinstance(table, RowChange)
    found = copy.deepcopy(lm)
    assert found.embedding.ngram is not None
    with torch.no_grad():
        found.embedding.ngram.weight.index_add_(0, table.rows_K, table.change)
        found.embedding.ngram.project.weight.copy_(table.project.weight)
    return found
