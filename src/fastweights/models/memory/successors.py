"""Which token came last after a long context, and how often in a row: one entry for each context of a tagged table.

An entry's value is its strength, log odds that grow with the run of confirmations; its tag is the token with a check of
the context, so that another context that leads to the same entry reads nothing there. A long context is mostly
followed by one token only: an entry says in one number what a path of the token tree takes several for.

Legend: B sequences, T positions, J contexts, P counted positions, U entries that a chunk touches, M decisions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.core.table import RowDelta, Table
from fastweights.models.memory.contexts import distinct
from fastweights.models.memory.mixing import sums
from fastweights.models.memory.token_tree import TokenTree

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
    rows = torch.from_numpy(at.rows_U)
    if table.shape[0] == 1:
        values, tags = (part.numpy()[at.inverse_PJ] for part in table.read_tagged(rows))
    else:
        found = table.read_tagged(rows.expand(table.shape[0], -1))
        values, tags = (part.numpy()[at.batch_P[:, None], at.inverse_PJ] for part in found)
    tokens = (tags ^ at.check_PJ) - 1  # with another check beyond any token
    known = (tokens >= 0) & (tokens < 2**_TOKEN_BITS - 1)
    return np.where(known, tokens, -1), np.where(known, values, np.float32(0))


def sides(token_MJ: Array, tree: TokenTree, node_M: Array, depth_M: Array) -> Array:
    """Which side of a decision each token is on: 1 right, -1 left, 0 where its path does not come by (fp32)."""
    depth_M1 = depth_M[:, None]
    on_MJ = (tree.node_VD[token_MJ, depth_M1] == node_M[:, None]) & tree.on_VD[token_MJ, depth_M1]
    return (2 * tree.bit_VD[token_MJ, depth_M1] - 1) * (on_MJ & (token_MJ >= 0))


def write(table: Table, at: Places, target_P: Array) -> RowDelta:
    """What a chunk makes of its entries: the last token, and its run if nothing else came in between."""
    U, B = len(at.rows_U), table.shape[0]
    tag_PJ = at.check_PJ | (target_P.astype(np.int32) + 1)[:, None]
    slot_N = (at.batch_P[:, None] * U + at.inverse_PJ).ravel()
    tag_N = tag_PJ.ravel()
    rows = torch.from_numpy(at.rows_U)
    old_BU, old_tag_BU = (part.numpy() for part in table.read_tagged(rows.expand(B, -1)))
    last_N = np.full(B * U, -1)
    last_N[slot_N] = np.arange(0, len(slot_N))  # the last of equal places is what stays
    touched_BU = last_N >= 0
    new_tag_BU = np.where(touched_BU, tag_N[last_N], old_tag_BU.ravel())
    same_N = tag_N == new_tag_BU[slot_N]
    count_BU = np.bincount(slot_N, minlength=B * U)
    other_BU = count_BU - np.bincount(slot_N, weights=same_N, minlength=B * U)
    kept_BU = np.where(old_tag_BU.ravel() == new_tag_BU, old_BU.ravel(), 0)
    run_BU = np.where(other_BU > 0, 1, _EVEN * np.expm1(kept_BU) + count_BU)
    new_BU = np.where(touched_BU, np.log1p(np.minimum(run_BU, _LONGEST) / _EVEN), kept_BU)
    delta_BU = (new_BU - kept_BU).astype(np.float32).reshape(B, U)
    return RowDelta(rows, torch.from_numpy(delta_BU), torch.from_numpy(new_tag_BU.astype(np.int32).reshape(B, U)))


def gradient(at: Places, batch: int, place_M: Array, share_MJ: Array) -> RowDelta:
    """Of the loss for the strengths: ``share_MJ`` is what each decision at a position's ``place_M`` adds."""
    U = len(at.rows_U)
    slot_MJ = (at.batch_P[:, None] * U + at.inverse_PJ)[place_M]
    values = sums(slot_MJ, share_MJ, batch * U).reshape(batch, U)
    return RowDelta(torch.from_numpy(at.rows_U), torch.from_numpy(values))
