"""What was read before each token, as hashes: the last 1, 2, … tokens, and the words. Pure integers.

Legend: B sequences, T positions, K contexts, P tokens of past, M decisions, V vocabulary, N numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastweights.layers.compiled import compiled

Array = NDArray[Any]
_MIX_A, _MIX_B, _NODE = (np.uint64(c) for c in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0x9E3779B97F4A7C15))
_WORD = np.uint64(0xD1342543DE82EF95)
_ONE, _FIRST, _SECOND = np.uint64(1), np.uint64(29), np.uint64(32)
_PLACES = 24  # bits


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

    A word is letters, digits, underscores and bytes beyond ASCII; its hash is a polynomial of its bytes modulo 2 ** 64,
    however tokens cut it.
    ``last_V``: each token's last byte, 0 of an empty one.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        ends = [len(piece.rstrip(_WORD_BYTES)) for piece in pieces]  # where the word that a token ends in begins
        self._begins_V = np.array([end > 0 for end in ends])
        self._inside_V = np.array([end < len(piece) for end, piece in zip(ends, pieces, strict=True)])
        self._bytes_V = np.array([len(p) - end for end, p in zip(ends, pieces, strict=True)])
        self._power_V = np.array([pow(int(_WORD), int(n), 2**64) for n in self._bytes_V], np.uint64)
        self.last_V = np.array([piece[-1] if piece else 0 for piece in pieces])
        self._code_V = np.array([_polynomial(p[end:].lower()) for end, p in zip(ends, pieces, strict=True)], np.uint64)

    def hashes(self, token_BT: Array, before_B3: Array) -> Array:
        """uint64 ``[B, T, 3]``: this word's hash, the last one's, and how many bytes this one has so far; ``before_B3``
        are those of the token before."""
        of_token = self._begins_V, self._inside_V, self._code_V, self._power_V, self._bytes_V
        return _words(token_BT, before_B3, *of_token)


_WORD_BYTES = bytes(b for b in range(256) if b >= 128 or chr(b).isalnum() or b == ord("_"))


def _polynomial(piece: bytes) -> int:
    value = 0
    for byte in piece:
        value = (value * int(_WORD) + byte + 1) % 2**64
    return value


@compiled
def _words(
    token_BT: Array, before_B3: Array, begins_V: Array, inside_V: Array, code_V: Array, power_V: Array, bytes_V: Array
) -> Array:
    B, T = token_BT.shape
    found = np.empty((B, T, 3), np.uint64)
    for b in range(B):
        now, last, length = before_B3[b, 0], before_B3[b, 1], before_B3[b, 2]
        for t in range(T):
            token = token_BT[b, t]
            if begins_V[token] or not inside_V[token]:
                if now != np.uint64(0):
                    last = now
                now, length = np.uint64(0), np.uint64(0)
            if inside_V[token]:
                now = now * power_V[token] + code_V[token]
                length += np.uint64(bytes_V[token])
            found[b, t, 0], found[b, t, 1], found[b, t, 2] = now, last, length
    return found


class Contexts:
    """Hashes of the last 1, 2, … tokens, and of words; which entries of a table they lead to is their high bits."""

    def __init__(self, orders: Sequence[int]) -> None:
        if list(orders) != sorted(set(orders)) or not orders or orders[0] < 1:
            raise ValueError(f"orders {list(orders)}: give distinct ones from 1, ascending")
        self.past = int(orders[-1]) - 1
        self._orders = np.array(orders)
        self._by_age = _multipliers(self.past + 1)
        self._seed_K = _multipliers(len(orders) + 2)
        self._word_2 = _multipliers(self.past + 3)[-2:].copy()

    def hashes(self, token_BT: Array, past_BP: Array, word_BT3: Array) -> Array:
        """uint64 ``[B, T, K]`` of the contexts that end in each token; in ``past_BP`` tokens plus one, 0 for none.

        The orders, then the word so far, then that with the word before it (both with the last token).
        """
        seen_BS = np.concatenate([past_BP, token_BT + 1], axis=1).astype(np.uint64)
        return _contexts(seen_BS, word_BT3, self._orders, self._by_age, self._seed_K, self._word_2)


@compiled
def _contexts(seen_BS: Array, word_BT3: Array, orders: Array, by_age: Array, seed_K: Array, word_2: Array) -> Array:
    B, T = word_BT3.shape[:2]
    J, past = len(orders), len(by_age) - 1
    found = np.empty((B, T, J + 2), np.uint64)
    for b in range(B):
        for t in range(T):
            total, j = np.uint64(0), 0
            for age in range(past + 1):
                total += seen_BS[b, t + past - age] * by_age[age]
                if age + 1 == orders[j]:
                    found[b, t, j] = total
                    j += 1
            word = seen_BS[b, t + past] * by_age[0] + word_BT3[b, t, 0] * word_2[0]
            found[b, t, J] = word
            found[b, t, J + 1] = word + word_BT3[b, t, 1] * word_2[1]
            for k in range(J + 2):
                mixed = found[b, t, k] + seed_K[k]
                found[b, t, k] = (mixed ^ (mixed >> _FIRST)) * _MIX_A
    return found


@compiled
def at_nodes(hash_PK: Array, place_M: Array, node_M: Array, bits: int) -> Array:
    """int64 ``[M, K]``: the entry, of ``2 ** bits``, of each context at a decision's place, and node of the tree."""
    M, K = len(place_M), hash_PK.shape[1]
    found, shift = np.empty((M, K), np.int64), np.uint64(64 - bits)
    for m in range(M):
        of_node = (np.uint64(node_M[m]) + _ONE) * _NODE
        for k in range(K):
            mixed = hash_PK[place_M[m], k] + of_node
            mixed = (mixed ^ (mixed >> _SECOND)) * _MIX_B
            found[m, k] = np.int64(mixed >> shift)
    return found


def distinct(at: Array) -> tuple[Array, Array]:
    """``np.unique`` with the inverse, of fewer than 2 ** 24 numbers below 2 ** 39: one sort of integers, no argsort."""
    inverse = np.empty(at.shape, np.int64)
    return _runs(np.sort((at.ravel() << _PLACES) | np.arange(at.size)), inverse.reshape(-1)), inverse


@compiled
def _runs(key_N: Array, inverse_N: Array) -> Array:
    found, count = np.empty(len(key_N), np.int64), 0
    for n in range(len(key_N)):
        value = key_N[n] >> _PLACES
        if count == 0 or value != found[count - 1]:
            found[count] = value
            count += 1
        inverse_N[key_N[n] & (2**_PLACES - 1)] = count - 1
    return found[:count].copy()
