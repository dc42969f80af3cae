"""Slots of a hashed table: one for each (order, last tokens, node of the token tree). Pure integers.

Legend: B sequences, T positions, K orders, P tokens of past, M decisions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_MIX_A, _MIX_B, _NODE = (np.uint64(c) for c in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15))


def _multipliers(count: int) -> Array:
    """Odd 64-bit numbers, the same on every machine: splitmix64 (G. Steele, 2014)."""
    found = []
    for i in range(1, count + 1):
        z = i * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found.append((z ^ z >> 31) | 1)
    return np.array(found, np.uint64)


class Contexts:
    """Hashes of the last 1, 2, … tokens, and the slots of a table of ``2 ** bits`` that they lead to."""

    def __init__(self, orders: Sequence[int], bits: int) -> None:
        if list(orders) != sorted(set(orders)) or not orders or orders[0] < 1:
            raise ValueError(f"orders {list(orders)}: give distinct ones from 1, ascending")
        self.orders = np.array(orders)
        self._wanted = frozenset(orders)
        self.past = int(orders[-1]) - 1
        self._by_age = _multipliers(self.past + 1)
        self._shift = np.uint64(64 - bits)

    def hashes(self, token_BT: Array, past_BP: Array) -> Array:
        """uint64 ``[B, T, K]`` of the contexts that end in each token; in ``past_BP`` tokens plus one, 0 for none."""
        full_BS = np.concatenate([past_BP, token_BT + 1], axis=1).astype(np.uint64)
        length, sum_BT, found = token_BT.shape[1], np.zeros(token_BT.shape, np.uint64), []
        for age, multiplier in enumerate(self._by_age):
            first = self.past - age
            sum_BT = sum_BT + full_BS[:, first : first + length] * multiplier
            if age + 1 in self._wanted:
                found.append(sum_BT)
        hash_BTK = np.stack(found, axis=2)
        hash_BTK = hash_BTK + self.orders.astype(np.uint64) * _NODE
        return (hash_BTK ^ (hash_BTK >> np.uint64(29))) * _MIX_A

    def slots(self, hash_MK: Array, node_M: Array) -> Array:
        """int64 ``[M, K]``."""
        mixed_MK = hash_MK + ((node_M.astype(np.uint64) + np.uint64(1)) * _NODE)[:, None]
        mixed_MK = (mixed_MK ^ (mixed_MK >> np.uint64(32))) * _MIX_B
        return (mixed_MK >> self._shift).astype(np.int64)
