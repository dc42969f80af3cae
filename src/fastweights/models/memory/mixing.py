"""The mix: a gated linear sum of log odds (M. Mahoney, PAQ, 2005; C. Mattern, 2012).

Each input has a weight for how sure it is and for how strange the text is to the frozen model (the level: its mean loss
over the last tokens), so that trust in what was learned of a foreign text is not trust where the frozen model is right.
There is a weight at the middle of each band of sureness, and between two middles the weight lies on a line: with a step
at the border of two bands, an input that grows a little there would make a jump, which no shorter write makes smaller.

Legend: B sequences, T positions, M decisions, C inputs, L levels, N bands.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastweights.layers.compiled import compiled

Array = NDArray[Any]
LEVELS, WINDOW = 3, 32  # WINDOW: tokens of the mean loss
_STRANGE = (0.45, 0.75)  # of log V: from here on a text is half known, and unknown
_FAMILIAR, _TOKENS = 0.25, 12.0  # what the mean begins with: so much of log V, for so many tokens
_PER_BAND = 1.2  # bands to a nat


@compiled
def mix(input_MC: Array, weight_BLCN: Array, batch_M: Array, level_M: Array, banded_C: Array) -> tuple[Array, Array]:
    """Log odds fp64 ``[M]``, and how they change with each input, fp32 ``[M, C]``.

    Weights of one sequence (B = 1) are those of all. Inputs where ``banded_C`` is False have the first band's weight.
    """
    M, C = input_MC.shape
    odds_M, slope_MC = np.empty(M), np.empty((M, C), np.float32)
    for m in range(M):
        b = batch_M[m] if len(weight_BLCN) > 1 else 0
        odds = 0.0
        for c in range(C):
            x, weight_N = input_MC[m, c], weight_BLCN[b, level_M[m], c]
            low, high, part = _between(x, len(weight_N), banded_C[c])
            rise = weight_N[high] - weight_N[low]
            weight = weight_N[low] + part * rise
            odds += weight * x
            slope_MC[m, c] = weight + _PER_BAND * abs(x) * rise
        odds_M[m] = odds
    return odds_M, slope_MC


@compiled
def mix_gradient(
    slope_M: Array, input_MC: Array, batch_M: Array, level_M: Array, banded_C: Array, batch: int, bands: int
) -> Array:
    """For the weights, fp32 ``[B, L, C, N]``, of something that changes with the log odds by ``slope_M``."""
    M, C = input_MC.shape
    found = np.zeros((batch, LEVELS, C, bands))
    for m in range(M):
        for c in range(C):
            x, found_N = input_MC[m, c], found[batch_M[m], level_M[m], c]
            low, high, part = _between(x, bands, banded_C[c])
            found_N[low] += slope_M[m] * x * (1 - part)
            found_N[high] += slope_M[m] * x * part
    return found.astype(np.float32)


@compiled
def _between(x: float, bands: int, banded: bool) -> tuple[int, int, float]:
    """Between which two weights an input's lies, and how far."""
    sure = min(abs(x) * _PER_BAND - 0.5, bands - 1.0) if banded else 0.0
    if not sure > 0:
        return 0, 0, 0.0
    band = int(sure)
    return band, min(band + 1, bands - 1), sure - band


@compiled
def level(loss_BS: Array, uniform: float) -> Array:
    """How strange the text is after each ``WINDOW`` entries (below 0: not read): 0, 1 or 2, ``[B, S - WINDOW + 1]``."""
    B, S = loss_BS.shape
    found = np.zeros((B, S - WINDOW + 1), np.int64)
    for b in range(B):
        for t in range(S - WINDOW + 1):
            total, count = _FAMILIAR * _TOKENS, _TOKENS
            for s in range(t, t + WINDOW):
                if loss_BS[b, s] >= 0:
                    total += loss_BS[b, s] / uniform
                    count += 1
            for border in _STRANGE:
                found[b, t] += total / count > border
    return found


@compiled
def nats(odds: float, bit: float) -> float:
    """The loss of a decision."""
    x = -odds if bit > 0 else odds
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled
def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
