"""One token after another: predict it, then learn from it. The loops of :mod:`online_mix`, over the entries of a chunk.

Legend: B sequences, P counted positions, M decisions, K short and J long contexts, U entries, C inputs, V tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastweights.layers.compiled import compiled
from fastweights.models.memory.mixing import mixed, nats, sigmoid
from fastweights.models.memory.successors import confirmed, owner
from fastweights.models.memory.token_tree import LIMIT

Array = NDArray[Any]


@compiled
def paths(target_P: Array, node_VD: Array, bit_VD: Array, on_VD: Array) -> tuple[Array, Array, Array, Array]:
    """Of each target's decisions, in order: its place, depth, node and bit."""
    M = 0
    for target in target_P:
        M += on_VD[target].sum()
    place_M, depth_M, node_M = np.empty(M, np.int64), np.empty(M, np.int64), np.empty(M, np.int64)
    bit_M, m = np.empty(M, np.float32), 0
    for p in range(len(target_P)):
        for depth in range(on_VD.shape[1]):
            if on_VD[target_P[p], depth]:
                place_M[m], depth_M[m] = p, depth
                node_M[m], bit_M[m] = node_VD[target_P[p], depth], bit_VD[target_P[p], depth]
                m += 1
    return place_M, depth_M, node_M, bit_M


@compiled
def side(token: int, node: int, depth: int, node_VD: Array, bit_VD: Array, on_VD: Array) -> float:
    """Of a decision that a token (-1: none) is on: 1 right, -1 left, 0 where its path does not come by."""
    if token < 0 or not on_VD[token, depth] or node_VD[token, depth] != node:
        return 0.0
    return 2.0 * bit_VD[token, depth] - 1.0


@compiled
def inputs(
    C: int, frozen_M: Array, value_BU: Array, batch_M: Array, inverse_MK: Array, token_PJ: Array, strength_PJ: Array,
    place_M: Array, node_M: Array, depth_M: Array, node_VD: Array, bit_VD: Array, on_VD: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Of the mix, fp32 ``[M, C]`` without the map's, and the sides of the long contexts' tokens."""
    M, K, J = len(frozen_M), inverse_MK.shape[1], token_PJ.shape[1]
    input_MC, side_MJ = np.empty((M, C), np.float32), np.empty((M, J), np.float32)
    for m in range(M):
        b, p = batch_M[m] if len(value_BU) > 1 else 0, place_M[m]
        input_MC[m, 0] = frozen_M[m]
        for k in range(K):
            input_MC[m, 1 + k] = value_BU[b, inverse_MK[m, k]]
        for j in range(J):
            side_MJ[m, j] = side(token_PJ[p, j], node_M[m], depth_M[m], node_VD, bit_VD, on_VD)
            input_MC[m, 1 + K + j] = strength_PJ[p, j] * side_MJ[m, j]
    return input_MC, side_MJ


@compiled
def learn(
    frozen_M: Array, added_M: Array, bit_M: Array, place_M: Array, node_M: Array, depth_M: Array, inverse_MK: Array,
    row_MS: Array, batch_P: Array, target_P: Array, check_PJ: Array, inverse_PJ: Array, node_VD: Array, bit_VD: Array,
    on_VD: Array, prior: float, horizon: float, rate: float, value_BU: Array, count_BU: Array, run_BW: Array,
    tag_BW: Array, gate_BRC: Array, square_BRC: Array,
) -> Array:  # fmt: skip
    """Read a chunk: sums of losses ``[B]``; the last six arrays are changed. ``added_M``: what the map adds, or empty.

    All decisions of a token are made under the weights that the tokens before have left. Then a decision's entry
    becomes the mean of what was seen with its count, and the mix follows the loss's gradient.
    """
    P, K, J, C, D = len(target_P), inverse_MK.shape[1], inverse_PJ.shape[1], gate_BRC.shape[2], on_VD.shape[1]
    loss_B, token_J, first = np.zeros(len(gate_BRC)), np.empty(J, np.int64), 0
    x_DC, error_D, weight_C = np.zeros((D, C), np.float32), np.zeros(D, np.float32), np.zeros(C, np.float32)
    for p in range(P):
        b = batch_P[p]
        for j in range(J):
            token_J[j] = owner(tag_BW[b, inverse_PJ[p, j]], check_PJ[p, j])
        last = first
        while last < len(place_M) and place_M[last] == p:
            m, x_C = last, x_DC[last - first]
            x_C[0] = frozen_M[m]
            for k in range(K):
                x_C[1 + k] = value_BU[b, inverse_MK[m, k]]
            for j in range(J):
                x_C[1 + K + j] = side(token_J[j], node_M[m], depth_M[m], node_VD, bit_VD, on_VD)
                if x_C[1 + K + j] != 0:
                    x_C[1 + K + j] *= run_BW[b, inverse_PJ[p, j]]
            if len(added_M):
                x_C[C - 1] = added_M[m]
            odds = mixed(gate_BRC[b], row_MS[m], x_C, weight_C)
            loss_B[b] += nats(odds, bit_M[m])
            error_D[m - first] = bit_M[m] - sigmoid(odds)
            last += 1
        for m in range(first, last):
            for k in range(K):
                u = inverse_MK[m, k]
                value_BU[b, u] = counted(value_BU[b, u], count_BU[b, u], bit_M[m], prior, horizon)
                count_BU[b, u] = min(count_BU[b, u] + 1, 255)
            if rate > 0:
                follow(gate_BRC[b], square_BRC[b], row_MS[m], error_D[m - first], x_DC[m - first], np.float32(rate))
        for j in range(J):
            w, tag = inverse_PJ[p, j], check_PJ[p, j] | np.int32(target_P[p] + 1)
            run_BW[b, w], tag_BW[b, w] = confirmed(run_BW[b, w] if tag == tag_BW[b, w] else 0.0), tag
        first = last
    return loss_B


@compiled
def follow(gate_RC: Array, square_RC: Array, row_S: Array, error: float, x_C: Array, rate: Any) -> None:
    """Adagrad's step of the mix's weights (J. Duchi et al., 2011)."""
    for row in row_S:
        for c in range(len(x_C)):
            step = error * x_C[c]
            square_RC[row, c] += step * step
            gate_RC[row, c] += rate * step / np.sqrt(square_RC[row, c])


@compiled
def counted(value: Any, count: Any, bit: Any, prior: float, horizon: float) -> float:
    """An entry's log odds after one more observation."""
    n, p = min(float(count), horizon) + prior, sigmoid(value)
    return min(max(math.log((p * n + bit) / ((1 - p) * n + 1 - bit)), -LIMIT), LIMIT)


@compiled
def losses(odds_M: Array, bit_M: Array, at_M: Array, size: int) -> Array:
    """Sums of the decisions' losses, by ``at_M``: fp64 ``[size]``."""
    found = np.zeros(size)
    for m in range(len(odds_M)):
        found[at_M[m]] += nats(odds_M[m], bit_M[m])
    return found


@compiled
def slopes(odds_M: Array, bit_M: Array) -> Array:
    """Of the decisions' losses for their log odds."""
    found = np.empty(len(odds_M))
    for m in range(len(odds_M)):
        found[m] = sigmoid(odds_M[m]) - bit_M[m]
    return found


@compiled
def scattered(share_MC: Array, batch_M: Array, inverse_MK: Array, B: int, U: int) -> Array:
    """Shares of the short contexts, summed by entry: fp32 ``[B, U]``."""
    found = np.zeros((B, U))
    for m in range(len(batch_M)):
        for k in range(inverse_MK.shape[1]):
            found[batch_M[m], inverse_MK[m, k]] += share_MC[m, 1 + k]
    return found.astype(np.float32)
