"""The mix: a gated linear sum of log odds (M. Mahoney, PAQ, 2005; C. Mattern, 2012).

Each input has a weight for how sure it is and for how strange the text is to the frozen model (the level: its mean loss
over the last tokens), so that trust in what was learned of a foreign text is not trust where the frozen model is right.
There is a weight at the middle of each band of sureness, and between two middles the weight lies on a line: with a step
at the border of two bands, an input that grows a little there would make a jump, which no shorter write makes smaller.

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
_PER_BAND = np.float32(1.2)  # bands to a nat


class Mixed(NamedTuple):
    """``low_MC``, ``high_MC``: where in the flat weights ``[B, L, C, N]`` the two are between which each one lies, and
    ``part_MC`` how far; ``odds_M``: the log odds; ``slope_MC``: how they change with each input."""

    low_MC: Array
    high_MC: Array
    part_MC: Array
    slope_MC: Array
    odds_M: Array

    def gradient(self, slope_M: Array, input_MC: Array, shape: tuple[int, ...]) -> Array:
        """For the weights, of something that changes with the log odds by ``slope_M``."""
        by_MC = slope_M[:, None] * input_MC
        high_MC = by_MC * self.part_MC
        size = int(np.prod(shape))
        return (sums(self.low_MC, by_MC - high_MC, size) + sums(self.high_MC, high_MC, size)).reshape(shape)


def mix(input_MC: Array, weight_BLCN: Array, block_M: Array | int, banded: slice) -> Mixed:
    """``block_M`` is ``b * L + level``; inputs outside of ``banded`` have one weight."""
    C, bands = weight_BLCN.shape[2:]
    first_MC = np.arange(0, C * bands, bands) + np.broadcast_to(block_M, len(input_MC))[:, None] * (C * bands)
    sure_MC = np.zeros(input_MC.shape, np.float32)
    np.clip(np.abs(input_MC[:, banded]) * _PER_BAND - np.float32(0.5), 0, bands - 1, out=sure_MC[:, banded])
    band_MC = sure_MC.astype(np.int64)
    low_MC = first_MC + band_MC
    high_MC = np.where(sure_MC > 0, np.minimum(low_MC + 1, first_MC + (bands - 1)), low_MC)
    flat = weight_BLCN.reshape(-1)
    weight_MC, part_MC = flat[low_MC], sure_MC - band_MC
    rise_MC = flat[high_MC] - weight_MC
    weight_MC = weight_MC + part_MC * rise_MC
    odds_M = np.einsum("mc,mc->m", weight_MC, input_MC)
    return Mixed(low_MC, high_MC, part_MC, weight_MC + _PER_BAND * np.abs(input_MC) * rise_MC, odds_M)


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
