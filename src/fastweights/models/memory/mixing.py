"""The mix: a gated linear sum of log odds (M. Mahoney, PAQ, 2005; C. Mattern, 2012).

An input's weight is the mean of five, each chosen by something else that is known before a decision and that no fast
weight moves: how sure the frozen model is, how it fared on the token before, what kind of character the last one is,
how long the word so far is, and how deep in the token tree the decision lies. A choice by what was learned would make a
jump where it changes, which no shorter write makes smaller.

Legend: B sequences, T positions, M decisions, C inputs, S sets of weights, R their rows, P counted positions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastweights.layers.compiled import compiled

Array = NDArray[Any]
_SURE, _FARED = (1.5, 3.0, 4.5), (0.0125, 0.0375, 0.1, 0.2, 0.375, 0.625, 0.875)  # nats; shares of log V
_KINDS, _LENGTHS, _DEPTHS = 8, 12, 8
_FIRST = np.cumsum([0, len(_SURE) + 1, len(_FARED) + 1, _KINDS, _LENGTHS, _DEPTHS])
SETS, ROWS = 5, int(_FIRST[-1])
FAMILIAR = 0.25
"""What the frozen model's last loss begins as, as a share of log V."""


def kind(last: int) -> int:
    """Of a character, by its byte."""
    if last >= 128:
        return 5
    of = chr(last)
    if of.islower() or of.isupper():
        return 0 if of.islower() else 1
    return 2 if of == " " else 3 if of == "\n" else 4 if of.isdigit() else 6 if of in ",.;:!?" else 7


@compiled
def rows(frozen_M: Array, depth_M: Array, place_M: Array, fared_P: Array, kind_P: Array, length_P: Array) -> Array:
    """``[M, S]``: the rows of the weights that each decision's are the mean of."""
    found = np.empty((len(frozen_M), SETS), np.int64)
    for m in range(len(frozen_M)):
        p, sure, fared = place_M[m], 0, 0
        for border in _SURE:
            sure += abs(frozen_M[m]) >= border
        for border in _FARED:
            fared += fared_P[p] >= border
        found[m, 0], found[m, 1], found[m, 2] = sure, _FIRST[1] + fared, _FIRST[2] + kind_P[p]
        found[m, 3] = _FIRST[3] + min(length_P[p], _LENGTHS - 1)
        found[m, 4] = _FIRST[4] + min(depth_M[m], _DEPTHS - 1)
    return found


@compiled
def mix(input_MC: Array, weight_BRC: Array, batch_M: Array, row_MS: Array) -> tuple[Array, Array]:
    """Log odds fp64 ``[M]``, and how they change with each input, fp32 ``[M, C]``.

    Weights of one sequence (B = 1) are those of all.
    """
    M, C = input_MC.shape
    odds_M, slope_MC = np.empty(M), np.empty((M, C), np.float32)
    for m in range(M):
        b = batch_M[m] if len(weight_BRC) > 1 else 0
        odds_M[m] = mixed(weight_BRC[b], row_MS[m], input_MC[m], slope_MC[m])
    return odds_M, slope_MC


@compiled
def mixed(weight_RC: Array, row_S: Array, input_C: Array, mean_C: Array) -> float:
    """Log odds of one decision; ``mean_C`` becomes the inputs' weights."""
    mean_C[:] = 0
    for row in row_S:
        for c in range(len(mean_C)):
            mean_C[c] += weight_RC[row, c]
    odds = 0.0
    for c in range(len(mean_C)):
        mean_C[c] /= SETS
        odds += mean_C[c] * input_C[c]
    return odds


@compiled
def mix_gradient(slope_M: Array, input_MC: Array, batch_M: Array, row_MS: Array, batch: int) -> Array:
    """For the weights, fp32 ``[B, R, C]``, of something that changes with the log odds by ``slope_M``."""
    M, C = input_MC.shape
    found = np.zeros((batch, ROWS, C))
    for m in range(M):
        for row in row_MS[m]:
            for c in range(C):
                found[batch_M[m], row, c] += slope_M[m] / SETS * input_MC[m, c]
    return found.astype(np.float32)


@compiled
def nats(odds: float, bit: float) -> float:
    """The loss of a decision."""
    x = -odds if bit > 0 else odds
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@compiled
def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
