"""Which rows of an n-gram table may change: those that the sessions gain most by and that core text reads least, and
those that core text reads often, which it then teaches itself.

Legend: T positions, N orders, R rows of the table, K rows chosen, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastweights.layers.ngram import NGramEmbedding
from fastweights.train.sleep import Trace

GAIN = 0.02
"""Nats that the fast weights must know better at a place for its rows to be worth changing."""
OFTEN, _MOST = 16, 1 << 15
"""Places of core text that read a row of its own, and how many such rows there are at most."""
_BLOCK = 1 << 16
_SPAN = (4.0, 8.0, 14.0)  # bytes that the orders of a new table reach back
_ROWS = (1 << 14, 1 << 18)
_SPARSE = 48  # rows of a new table for each that is wanted: so many fewer core places read one by chance


class Chosen(NamedTuple):
    """``gain_K``: nats over all places of the traces that read the row; ``group_K``: number of the order that gains
    most of them, or one more than the last for rows of core text; ``reads_K``: places of core text that read it."""

    rows_K: Tensor
    gain_K: Tensor
    group_K: Tensor
    reads_K: Tensor
    wanted: int
    core_places: int


def new_table(bytes_per_token: float, places: int) -> tuple[tuple[int, ...], int]:
    """(orders, rows) of a table for a model that has none."""
    orders = sorted({min(16, max(2, round(span / bytes_per_token))) for span in _SPAN})
    wanted = places * len(orders) * _SPARSE
    rows = 1 << int(np.ceil(np.log2(max(wanted, 1))))
    return tuple(orders), min(max(rows, _ROWS[0]), _ROWS[1])


def choose_rows(
    ngram: NGramEmbedding, traces: Sequence[Trace], gains: Sequence[Tensor], core_T: np.ndarray, share: float
) -> Chosen:
    """Rows in the order of gain for each read of core text, until core text reads them at a ``share`` of its places.

    ``gains``: of each trace ``[T]``, nats by which the fast weights know the next token better.
    """
    size, N = len(ngram.weight), len(ngram.orders)
    gain_NR, reads_R = torch.zeros(N, size), torch.zeros(size)
    with torch.no_grad():
        for trace, gain_T in zip(traces, gains, strict=True):
            rows_TN = ngram.rows(trace.tokens_T[None], ngram.init_carry(1))[0][0]
            worth_T = torch.where(gain_T > GAIN, gain_T, 0.0)
            for order in range(N):
                gain_NR[order].index_add_(0, rows_TN[:, order], worth_T)
        past = ngram.init_carry(1)
        for at in range(0, len(core_T), _BLOCK):
            tokens_T = torch.from_numpy(core_T[at : at + _BLOCK].astype(np.int64))
            rows_TN, past = ngram.rows(tokens_T[None], past)
            reads_R += torch.bincount(rows_TN.flatten(), minlength=size)
    gain_R = gain_NR.sum(0)
    wanted_K = (gain_R > 0).nonzero()[:, 0]
    best = (gain_R[wanted_K] / (reads_R[wanted_K] + 1)).argsort(descending=True)
    ordered_K = wanted_K[best]
    allowed = share * max(1, len(core_T))
    taken_R = torch.full((size,), -1)
    often_K = (reads_R >= OFTEN).nonzero()[:, 0]
    taken_R[often_K[reads_R[often_K].argsort(descending=True)[:_MOST]]] = N
    of_traces_K = ordered_K[reads_R[ordered_K].cumsum(0) <= allowed]
    taken_R[of_traces_K] = gain_NR[:, of_traces_K].argmax(0)
    rows_K = (taken_R >= 0).nonzero()[:, 0]
    return Chosen(rows_K, gain_R[rows_K], taken_R[rows_K], reads_R[rows_K], len(wanted_K), len(core_T))
