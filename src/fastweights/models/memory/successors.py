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


def entries(table: Table, at: Places) -> tuple[Array, Array]:
    """Values and tags ``[B, U]``; of a table that all sequences share (B = 1), its own."""
    values_BU, tags_BU = table.read_tagged(torch.from_numpy(at.rows_U).expand(table.shape[0], -1))
    return values_BU.numpy(), tags_BU.numpy()


@compiled
def owner(tag: Any, check: Any) -> int:
    """The token (-1: none) that an entry's tag names to a context."""
    token = (tag ^ check) - 1  # with another check beyond any token
    return token if 0 <= token < 2**_TOKEN_BITS - 1 else -1


@compiled
def confirmed(strength: Any) -> float:
    """The strength after one more time in a row; from 0 after the first."""
    return math.log1p(min(_EVEN * math.expm1(strength) + 1, _LONGEST) / _EVEN)


@compiled
def read(value_BU: Array, tag_BU: Array, batch_P: Array, check_PJ: Array, inverse_PJ: Array) -> tuple[Array, Array]:
    """Token (-1: none) and strength ``[P, J]`` of entries."""
    P, J = inverse_PJ.shape
    token_PJ, strength_PJ = np.empty((P, J), np.int64), np.zeros((P, J), np.float32)
    for p in range(P):
        b = batch_P[p] if len(value_BU) > 1 else 0
        for j in range(J):
            token_PJ[p, j] = owner(tag_BU[b, inverse_PJ[p, j]], check_PJ[p, j])
            if token_PJ[p, j] >= 0:
                strength_PJ[p, j] = value_BU[b, inverse_PJ[p, j]]
    return token_PJ, strength_PJ


def written(table: Table, at: Places, old: tuple[Array, Array], new: tuple[Array, Array]) -> tuple[RowDelta, Table]:
    """The change between two sets of entries (of another owner's from 0), and the table with it."""
    rows_U, tag_BU = torch.from_numpy(at.rows_U), torch.from_numpy(new[1])
    kept_BU = np.where(old[1] == new[1], old[0], np.float32(0))
    change_BU = new[0] - kept_BU
    delta = RowDelta(rows_U, torch.from_numpy(change_BU), tag_BU)
    return delta, table.replaced(rows_U, torch.from_numpy(kept_BU + change_BU), tag_BU)


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
