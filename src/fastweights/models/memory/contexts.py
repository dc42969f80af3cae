"""What was read before each token, as hashes: the last 1, 2, … tokens, and the words. Pure integers.

Legend: B sequences, T positions, K contexts, P tokens of past, M decisions, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
_MIX_A, _MIX_B, _NODE = (np.uint64(c) for c in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15))
_WORD = 0xD1342543DE82EF95  # odd, so that it has an inverse modulo 2 ** 64
_UNWORD = pow(_WORD, -1, 2**64)


def _multipliers(count: int) -> Array:
    """Odd 64-bit numbers, the same on every machine: splitmix64 (G. Steele, 2014)."""
    found = []
    for i in range(1, count + 1):
        z = i * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        found.append((z ^ z >> 31) | 1)
    return np.array(found, np.uint64)


class Words:
    """The word that is being written and the one before it, in any case of letters, by the bytes of each token.

    A word is letters, digits, underscores and bytes beyond ASCII. Its hash is a polynomial modulo 2 ** 64, which a
    sum over a chunk gives for all positions at once.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        ends = [len(piece.rstrip(_WORD_BYTES)) for piece in pieces]  # where the word that a token ends in begins
        self._begins_V = np.array([end > 0 for end in ends])
        self._inside_V = np.array([end < len(piece) for end, piece in zip(ends, pieces, strict=True)])
        self._code_V = np.array([_polynomial(p[end:].lower()) for end, p in zip(ends, pieces, strict=True)], np.uint64)

    def hashes(self, token_BT: Array, before_B2: Array) -> Array:
        """uint64 ``[B, T, 2]``: of this word and the last; ``before_B2`` are those of the token before."""
        B, T = token_BT.shape
        index_S = np.arange(T + 1)
        inside_BS, begins_BS = np.ones((B, T + 1), bool), np.zeros((B, T + 1), bool)
        inside_BS[:, 1:], begins_BS[:, 1:] = self._inside_V[token_BT], self._begins_V[token_BT]
        code_BS = np.concatenate([before_B2[:, :1], self._code_V[token_BT]], axis=1)
        sums_BS = np.zeros((B, T + 2), np.uint64)
        np.cumsum(code_BS * _powers(_UNWORD, T + 1), axis=1, out=sums_BS[:, 1:])
        start_BS = np.maximum.accumulate(np.where(inside_BS, begins_BS * index_S, index_S + 1), axis=1)
        since_BS = sums_BS[:, 1:] - np.take_along_axis(sums_BS, np.minimum(start_BS, T + 1), axis=1)
        now_BS = np.where(inside_BS, since_BS * _powers(_WORD, T + 1), np.uint64(0))
        ended_BS = np.zeros((B, T + 1), bool)
        ended_BS[:, 1:] = (begins_BS | ~inside_BS)[:, 1:] & (now_BS[:, :-1] != 0)
        end_BS = np.maximum.accumulate(ended_BS * index_S, axis=1)
        last_BS = np.take_along_axis(now_BS, np.maximum(end_BS - 1, 0), axis=1)
        last_BS = np.where(end_BS > 0, last_BS, before_B2[:, 1:])
        return np.stack([now_BS[:, 1:], last_BS[:, 1:]], axis=2)


_WORD_BYTES = bytes(b for b in range(256) if b >= 128 or chr(b).isalnum() or b == ord("_"))


def _polynomial(piece: bytes) -> int:
    value = 0
    for byte in piece:
        value = (value * 257 + byte + 1) % 2**64
    return value


def _powers(base: int, count: int) -> Array:
    return np.multiply.accumulate(np.array([1] + [base] * (count - 1), np.uint64))


class Contexts:
    """Hashes of the last 1, 2, … tokens, and of words; which entries of a table they lead to is their high bits."""

    def __init__(self, orders: Sequence[int]) -> None:
        if list(orders) != sorted(set(orders)) or not orders or orders[0] < 1:
            raise ValueError(f"orders {list(orders)}: give distinct ones from 1, ascending")
        self.past = int(orders[-1]) - 1
        self._columns = np.array(orders) - 1
        self._by_age = _multipliers(self.past + 1)
        self._seed_K = _multipliers(len(orders) + 2)
        self._word_2 = _multipliers(self.past + 3)[-2:]

    def hashes(self, token_BT: Array, past_BP: Array, word_BT2: Array) -> Array:
        """uint64 ``[B, T, K]`` of the contexts that end in each token; in ``past_BP`` tokens plus one, 0 for none.

        The orders, then the word so far, then that with the word before it (both with the last token).
        """
        full_BS = np.concatenate([past_BP, token_BT + 1], axis=1).astype(np.uint64)
        by_age_BTP = sliding_window_view(full_BS, self.past + 1, axis=1)[:, :, ::-1] * self._by_age
        sums_BTP = np.cumsum(by_age_BTP, axis=2)
        word_BT = sums_BTP[:, :, 0] + word_BT2[:, :, 0] * self._word_2[0]
        two_BT = word_BT + word_BT2[:, :, 1] * self._word_2[1]
        hash_BTK = np.concatenate([sums_BTP[:, :, self._columns], word_BT[:, :, None], two_BT[:, :, None]], axis=2)
        hash_BTK += self._seed_K
        return (hash_BTK ^ (hash_BTK >> np.uint64(29))) * _MIX_A


def at_nodes(hash_MK: Array, node_M: Array, bits: int) -> Array:
    """int64 ``[M, K]``: the entry, of ``2 ** bits``, of each context and node of the token tree."""
    mixed_MK = hash_MK + ((node_M.astype(np.uint64) + np.uint64(1)) * _NODE)[:, None]
    mixed_MK = (mixed_MK ^ (mixed_MK >> np.uint64(32))) * _MIX_B
    return (mixed_MK >> np.uint64(64 - bits)).astype(np.int64)


def distinct(at: Array) -> tuple[Array, Array]:
    """``np.unique`` with the inverse, of fewer than 2 ** 24 numbers below 2 ** 39: one sort of integers, no argsort."""
    key_N = np.sort((at.ravel() << 24) | np.arange(at.size))
    value_N, place_N = key_N >> 24, key_N & (2**24 - 1)
    first_N = np.empty(len(key_N), bool)
    first_N[:1] = True
    np.not_equal(value_N[1:], value_N[:-1], out=first_N[1:])
    inverse = np.empty(at.size, np.int64)
    inverse[place_N] = np.cumsum(first_N) - 1
    return value_N[first_N], inverse.reshape(at.shape)
