"""The mix: a gated linear sum of log odds (M. Mahoney, PAQ, 2005; C. Mattern, 2012).

Each input has a weight for how sure it is (its band) and for how strange the text is to the frozen model (the level:
its mean loss over the last tokens), so that trust in what was learned of a foreign text is not trust where the frozen
model is right.

Legend: B sequences, T positions, M decisions, C inputs, L levels, N bands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LEVELS, WINDOW = 3, 32  # WINDOW: tokens of the mean loss
_STRANGE = np.array([0.45, 0.75])  # of log V: from here on a text is half known, and unknown
_FAMILIAR, _TOKENS = 0.25, 12.0  # what the mean begins with: so much of log V, for so many tokens
_PER_BAND = np.float32(1.2)  # bands to a nat; no border near the log odds of a run of few


class Mixed(NamedTuple):
    """``at_MC``: where in the flat weights ``[B, L, C, N]`` each decision's are; ``odds_M``: the log odds."""

    at_MC: Array
    weight_MC: Array
    odds_M: Array


def mix(input_MC: Array, weight_BLCN: Array, block_M: Array | int, banded: slice) -> Mixed:
    """``block_M`` is ``b * L + level``; inputs outside of ``banded`` have one band."""
    C, bands = weight_BLCN.shape[2:]
    at_MC = np.arange(0, C * bands, bands) + np.broadcast_to(block_M, len(input_MC))[:, None] * (C * bands)
    band_MC = (np.abs(input_MC[:, banded]) * _PER_BAND).astype(np.int64)
    at_MC[:, banded] += np.minimum(band_MC, bands - 1, out=band_MC)
    weight_MC = weight_BLCN.reshape(-1)[at_MC]
    return Mixed(at_MC, weight_MC, np.einsum("mc,mc->m", weight_MC, input_MC))


def level(loss_BS: Array, uniform: float) -> Array:
    """How strange the text is at each position after the first ``WINDOW`` entries (below 0: not read): 0, 1 or 2."""
    read_BS = loss_BS >= 0
    sums_2BS = np.zeros((2, len(loss_BS), loss_BS.shape[1] + 1))
    np.cumsum([loss_BS * read_BS, read_BS], axis=2, out=sums_2BS[:, :, 1:])
    sum_BT, count_BT = sums_2BS[:, :, WINDOW:] - sums_2BS[:, :, :-WINDOW]
    mean_BT = (sum_BT / uniform + _FAMILIAR * _TOKENS) / (count_BT + _TOKENS)
    return np.asarray(np.searchsorted(_STRANGE, mean_BT))


def nats(odds_M: Array, bit_M: Array) -> Array:
    """The loss of each decision."""
    return np.logaddexp(0, np.where(bit_M > 0, -odds_M, odds_M))


def sigmoid(x: Array) -> Array:
    return 0.5 * np.tanh(0.5 * x) + 0.5


def sums(at: Array, values: Array, size: int) -> Array:
    return np.bincount(at.ravel(), weights=values.ravel(), minlength=size).astype(np.float32)
