"""A vocabulary as a binary tree: a token is a path of yes/no decisions, few for frequent tokens.

A distribution over V tokens becomes V - 1 probabilities, of which a token's own path needs about its length in bits;
so a memory learns a handful of numbers a token, and none of the rest has to be looked at.
Legend: V tokens, N nodes (V - 1), D longest path, T positions, M decisions.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastweights.layers.compiled import compiled

Array = NDArray[Any]
LIMIT = 12.0  # of a log odds
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class TokenTree:
    """``node_VD``, ``bit_VD`` and ``on_VD``: each token's path, its decisions, and how long it is.

    ``leaf_V``: the tokens from left to right; node n's left part is ``leaf_V[low_N[n]:split_N[n]]``, its right part
    ``leaf_V[split_N[n]:high_N[n]]``.
    """

    node_VD: Array
    bit_VD: Array
    on_VD: Array
    leaf_V: Array
    low_N: Array
    split_N: Array
    high_N: Array

    @property
    def nodes(self) -> int:
        return len(self.low_N)

    @cached_property
    def rank_V(self) -> Array:
        """Where each token stands from left to right."""
        return np.argsort(self.leaf_V)

    def split(self, leaf_TV: Array) -> Split:
        """Of logits whose tokens stand from left to right."""
        weight_TV = np.exp(leaf_TV - leaf_TV.max(1, keepdims=True))
        return Split(weight_TV, _sums(weight_TV))

    def log_probabilities(self, odds_N: Array) -> Array:
        """``[V]`` of one position's log odds at all nodes."""
        right_N, left_N = -np.logaddexp(0, -odds_N), -np.logaddexp(0, odds_N)
        step_VD = np.where(self.bit_VD > 0, right_N[self.node_VD], left_N[self.node_VD])
        return (step_VD * self.on_VD).sum(1).astype(np.float32)


class Split(NamedTuple):
    """``weight_TV``: exp of logits less the largest, tokens from left to right; ``sum_TS``: fp64, of all before each
    and of all."""

    weight_TV: Array
    sum_TS: Array

    def log_odds(self, tree: TokenTree, position_M: Array, node_M: Array) -> Array:
        """Of "right", fp32 ``[M]``, within ``LIMIT``: at one node of one position each."""
        return _log_odds(self.sum_TS, tree.low_N, tree.split_N, tree.high_N, position_M, node_M)

    def probabilities(self) -> Array:
        """The softmax ``[T, V]``, tokens from left to right."""
        return self.weight_TV / self.sum_TS[:, -1:].astype(np.float32)

    def pullback(self, tree: TokenTree, position_M: Array, node_M: Array, share_M: Array) -> Array:
        """Gradient for the logits (tokens from left to right), fp32, of ``sum_m share_m * log_odds_m``."""
        edges = tree.low_N, tree.split_N, tree.high_N
        return _pullback(self.weight_TV, self.sum_TS, *edges, position_M, node_M, share_M)


@compiled
def _sums(weight_TV: Array) -> Array:
    T, V = weight_TV.shape
    found = np.empty((T, V + 1))
    for t in range(T):
        total = 0.0
        for v in range(V):
            found[t, v] = total
            total += weight_TV[t, v]
        found[t, V] = total
    return found


@compiled
def _log_odds(sum_TS: Array, low_N: Array, split_N: Array, high_N: Array, position_M: Array, node_M: Array) -> Array:
    found = np.empty(len(node_M), np.float32)
    for m in range(len(node_M)):
        t, n = position_M[m], node_M[m]
        left = max(sum_TS[t, split_N[n]] - sum_TS[t, low_N[n]], _TINY)
        right = max(sum_TS[t, high_N[n]] - sum_TS[t, split_N[n]], _TINY)
        found[m] = min(max(math.log(right / left), -LIMIT), LIMIT)
    return found


@compiled
def _pullback(
    weight_TV: Array, sum_TS: Array, low_N: Array, split_N: Array, high_N: Array, position_M: Array, node_M: Array,
    share_M: Array,
) -> Array:  # fmt: skip
    T, V = weight_TV.shape
    found, step_TS = np.empty((T, V), np.float32), np.zeros((T, V + 1))
    for m in range(len(node_M)):
        t, n = position_M[m], node_M[m]
        left = max(sum_TS[t, split_N[n]] - sum_TS[t, low_N[n]], _TINY)
        right = max(sum_TS[t, high_N[n]] - sum_TS[t, split_N[n]], _TINY)
        if abs(math.log(right / left)) < LIMIT:
            step_TS[t, low_N[n]] -= share_M[m] / left
            step_TS[t, split_N[n]] += share_M[m] / left + share_M[m] / right
            step_TS[t, high_N[n]] -= share_M[m] / right
    for t in range(T):
        step = 0.0
        for v in range(V):
            step += step_TS[t, v]
            found[t, v] = step * weight_TV[t, v]
    return found


def huffman(count_V: Sequence[int]) -> TokenTree:
    """The tree of Huffman (1952) for these counts (integers: the same tree on every machine); at least two tokens."""
    vocab = len(count_V)
    if vocab < 2:
        raise ValueError(f"a tree wants two tokens, not {vocab}")
    heap = [(int(count), token) for token, count in enumerate(count_V)]
    heapq.heapify(heap)
    children: list[tuple[int, int]] = []
    while len(heap) > 1:
        (a, left), (b, right) = heapq.heappop(heap), heapq.heappop(heap)
        children.append((left, right))
        heapq.heappush(heap, (a + b, vocab + len(children) - 1))
    low_N, split_N, high_N = (np.zeros(vocab - 1, np.int64) for _ in range(3))
    paths: dict[int, list[tuple[int, int]]] = {}
    leaves: list[int] = []
    todo: list[tuple[int, list[tuple[int, int]], str]] = [(heap[0][1], [], "enter")]
    while todo:
        at, path, what = todo.pop()
        if at < vocab:
            paths[at] = path
            leaves.append(at)
            continue
        node = at - vocab
        left, right = children[node]
        if what == "enter":
            low_N[node] = len(leaves)
            todo += [(at, path, "middle"), (left, [*path, (node, 0)], "enter")]
        elif what == "middle":
            split_N[node] = len(leaves)
            todo += [(at, path, "leave"), (right, [*path, (node, 1)], "enter")]
        else:
            high_N[node] = len(leaves)
    longest = max(map(len, paths.values()))
    node_VD, bit_VD = np.zeros((vocab, longest), np.int64), np.zeros((vocab, longest), np.float32)
    on_VD = np.zeros((vocab, longest), bool)
    for token, path in paths.items():
        for depth, (node, bit) in enumerate(path):
            node_VD[token, depth], bit_VD[token, depth], on_VD[token, depth] = node, bit, True
    return TokenTree(node_VD, bit_VD, on_VD, np.array(leaves), low_N, split_N, high_N)
