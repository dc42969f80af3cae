"""Which token came last after a long context, and how often in a row: one entry for each context of a tagged table.

An entry's value is its strength, log odds that grow with the run of confirmations; its tag is the token with a check of
the context, so that another context that leads to the same entry reads nothing there. A long context is mostly
followed by one token only: an entry says in one number what a path of the token tree takes several for.

Legend: B sequences, T positions, J contexts, P counted positions, U entries that a chunk touches, M decisions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.core.table import RowDelta, Table
from fastweights.layers.compiled import compiled
from fastweights.models.memory.contexts import distinct

Array = NDArray[Any]
_TOKEN_BITS = 21  # of a tag: the token plus one; the other ten are the check
_LONGEST = 30.0  # run
_EVEN = 0.3  # observations of "anything" that a run is weighed against


class Places(NamedTuple):
    """The entries of a chunk's contexts. ``check_PJ`` are in the tag's place; ``rows_U`` ascend."""

    batch_P: Array
    check_PJ: Array
    rows_U: Array
    inverse_PJ: Array


def places(hash_PJ: Array, batch_P: Array, bits: int) -> Places:
    rows_U, inverse_PJ = distinct((hash_PJ >> np.uint64(64 - bits)).astype(np.int64))
    check_PJ = (hash_PJ & np.uint64(1023)).astype(np.int32) << _TOKEN_BITS
    return Places(batch_P, check_PJ, rows_U, inverse_PJ)


def read(table: Table, at: Places) -> tuple[Array, Array]:
    """Token (-1: none) and strength ``[P, J]``."""
    return _read(*_entries(table, at), at.batch_P, at.check_PJ, at.inverse_PJ)


def _entries(table: Table, at: Places) -> tuple[Array, Array]:
    values_BU, tags_BU = table.read_tagged(torch.from_numpy(at.rows_U).expand(table.shape[0], -1))
    return values_BU.numpy(), tags_BU.numpy()


@compiled
def _read(value_BU: Array, tag_BU: Array, batch_P: Array, check_PJ: Array, inverse_PJ: Array) -> tuple[Array, Array]:
    P, J = inverse_PJ.shape
    token_PJ, strength_PJ = np.full((P, J), -1, np.int64), np.zeros((P, J), np.float32)
    for p in range(P):
        b = batch_P[p] if len(value_BU) > 1 else 0
        for j in range(J):
            token = (tag_BU[b, inverse_PJ[p, j]] ^ check_PJ[p, j]) - 1  # with another check beyond any token
            if 0 <= token < 2**_TOKEN_BITS - 1:
                token_PJ[p, j], strength_PJ[p, j] = token, value_BU[b, inverse_PJ[p, j]]
    return token_PJ, strength_PJ


def write(table: Table, at: Places, target_P: Array) -> RowDelta:
    """What a chunk makes of its entries: the last token, and how often in a row it came."""
    delta_BU, tag_BU = _write(*_entries(table, at), at.batch_P, at.check_PJ, at.inverse_PJ, target_P)
    return RowDelta(torch.from_numpy(at.rows_U), torch.from_numpy(delta_BU), torch.from_numpy(tag_BU))


@compiled
def _write(
    old_BU: Array, old_tag_BU: Array, batch_P: Array, check_PJ: Array, inverse_PJ: Array, target_P: Array
) -> tuple[Array, Array]:
    """Changes (of another owner's entry from 0) and tags."""
    new_BU, tag_BU = old_BU.copy(), old_tag_BU.copy()
    P, J = inverse_PJ.shape
    for p in range(P):
        b = batch_P[p]
        for j in range(J):
            u, tag = inverse_PJ[p, j], check_PJ[p, j] | np.int32(target_P[p] + 1)
            run = _EVEN * math.expm1(new_BU[b, u]) + 1 if tag == tag_BU[b, u] else 1.0
            new_BU[b, u], tag_BU[b, u] = math.log1p(min(run, _LONGEST) / _EVEN), tag
    return np.where(tag_BU == old_tag_BU, new_BU - old_BU, new_BU), tag_BU


def gradient(at: Places, batch: int, place_M: Array, share_MC: Array, first: int) -> RowDelta:
    """Of the loss for the strengths: ``share_MC`` from column ``first`` on is what each decision at its place adds."""
    values_BU = _gradient(at.batch_P, at.inverse_PJ, place_M, share_MC, first, batch, len(at.rows_U))
    return RowDelta(torch.from_numpy(at.rows_U), torch.from_numpy(values_BU))


@compiled
def _gradient(
    batch_P: Array, inverse_PJ: Array, place_M: Array, share_MC: Array, first: int, batch: int, U: int
) -> Array:
    found = np.zeros((batch, U))
    for m in range(len(place_M)):
        p = place_M[m]
        for j in range(inverse_PJ.shape[1]):
            found[batch_P[p], inverse_PJ[p, j]] += share_MC[m, first + j]
    return found.astype(np.float32)
