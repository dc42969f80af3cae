"""The words of a folded text as arrays: where each stands, and a hash of its letters. Torch-free, linear time.

A word is a run of a-z, with what follows an apostrophe where that is one or two letters ("don't", "you're"). Hashes are
polynomials over the letters modulo 2**64, so that all words of a text, and all of them backwards, take a few passes
over arrays; the words themselves are cut out only when somebody asks for them.
"""

import functools
from collections.abc import Sequence
from typing import overload

import numpy as np

_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
_APOSTROPHE = 39

NEW_SENTENCE = "\v"
"""Stands in a folded text before a capital that begins a sentence without a full stop before it."""

SENTENCE_BREAK = r"[.!?](?=\s)|\n\s*\n"
"""What ends a sentence in a folded text, as a regular expression."""


class Words(Sequence[str]):
    """The words of ``text``: word i is ``text[starts[i]:ends[i]]`` (backwards if ``flipped``) and has ``hashes[i]``."""

    def __init__(self, text: str, starts: np.ndarray, ends: np.ndarray, hashes: np.ndarray, flipped: bool = False):
        self.text, self.starts, self.ends, self.hashes, self.flipped = text, starts, ends, hashes, flipped
        self._asked = 0
        self._cut: list[str] = []  # all words, once so many were asked for that this is quicker

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if self._cut:
            return self._cut[index]
        self._asked += 1
        if self._asked > 64 + len(self) // 32:
            self._cut = self._spelt(slice(None))
            return self._cut[index]
        if isinstance(index, slice):
            return self._spelt(index)
        return self.text[self.starts[index] : self.ends[index]][:: -1 if self.flipped else 1]

    def _spelt(self, index: slice) -> list[str]:
        text, spans = self.text, zip(self.starts[index].tolist(), self.ends[index].tolist(), strict=True)
        if self.flipped:
            return [text[start:end][::-1] for start, end in spans]
        return [text[start:end] for start, end in spans]

    def last_first(self) -> "Words":
        """The same words, the last one first."""
        return Words(self.text, self.starts[::-1], self.ends[::-1], self.hashes[::-1], self.flipped)

    def each_backwards(self) -> "Words":
        """The same words in their order, the letters of each backwards."""
        raw = bytes_of(self.text)
        up, down = _powers(len(raw))
        hashes = (_sums(raw, down, self.starts, self.ends) * up[self.ends - 1]) * _MIX
        return Words(self.text, self.starts, self.ends, hashes, not self.flipped)


def bytes_of(text: str) -> np.ndarray:
    """One byte a character; what is not Latin-1 becomes "?"."""
    return np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)


def runs_of(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of true flags begins, and where it has ended."""
    padded = np.zeros(len(flags) + 2, dtype=bool)
    padded[1:-1] = flags
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges[::2], edges[1::2]


def counts_before(flags: np.ndarray) -> np.ndarray:
    """How many flags are set before each place, and last their number."""
    counts = np.zeros(len(flags) + 1, dtype=np.int32)
    np.cumsum(flags > 0, out=counts[1:])
    return counts


def split(text: str) -> Words:
    """All words of a folded text."""
    raw = bytes_of(text)
    starts, ends = runs_of((raw - np.uint8(97)) < 26)
    if "'" in text and len(starts) > 1:
        starts, ends = _contracted(text, raw, starts, ends)
    up, down = _powers(len(raw))
    return Words(text, starts, ends, (_sums(raw, up, starts, ends) * down[starts]) * _MIX)


def _contracted(text: str, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join what stands on both sides of an apostrophe, from the left, where the right side is a short word's end."""
    joins = (starts[1:] == ends[:-1] + 1) & (ends[1:] - starts[1:] <= 2)
    joins &= raw[np.minimum(ends[:-1], len(raw) - 1)] == _APOSTROPHE
    places = np.flatnonzero(joins)
    places = places[
        [not (text[end : end + 1].isalnum() or text[end : end + 1] == "_") for end in ends[places + 1].tolist()]
    ]
    if not len(places):
        return starts, ends
    first = np.concatenate(([True], places[1:] != places[:-1] + 1))
    index = np.arange(len(places))
    odd = (index - np.maximum.accumulate(np.where(first, index, 0))) % 2
    places = places[odd == 0]  # of "a'b'c" b belongs to a
    ends = ends.copy()
    ends[places] = ends[places + 1]
    kept = np.ones(len(starts), dtype=bool)
    kept[places + 1] = False
    return starts[kept], ends[kept]


def hashes_of(words: Sequence[str]) -> np.ndarray:
    """The hash of each word: of ``Words`` what they hold, else computed; words are ASCII."""
    if isinstance(words, Words):
        return words.hashes
    if not words:
        return np.zeros(0, dtype=np.uint64)
    table = np.array(words, dtype=np.bytes_)
    letters = table.view(np.uint8).reshape(len(words), -1)
    found = np.zeros(len(words), dtype=np.uint64)
    for column, power in enumerate(_powers(letters.shape[1])[0][: letters.shape[1]]):
        found += letters[:, column] * power
    return found * _MIX


@functools.cache
def _hash_of(word: str) -> np.uint64:
    return hashes_of([word])[0]


def places_of(words: Sequence[str], word: str) -> list[int]:
    """Where ``word`` stands among ``words``."""
    if isinstance(words, Words):
        return np.flatnonzero(words.hashes == _hash_of(word)).tolist()
    return [at for at, other in enumerate(words) if other == word] if word in words else []


def _sums(raw: np.ndarray, weights: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(raw * weights[: len(raw)], out=sums[1:])
    return sums[ends] - sums[starts]


def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """At least ``size`` powers of the base, and of its inverse, modulo 2**64."""
    return _power_tables(max(16, (size - 1).bit_length()))


@functools.cache
def _power_tables(bits: int) -> tuple[np.ndarray, np.ndarray]:
    tables = []
    for base in (_BASE, pow(_BASE, -1, 1 << 64)):
        powers = np.full(1 << bits, base, dtype=np.uint64)
        powers[0] = 1
        tables.append(np.cumprod(powers, dtype=np.uint64))
    return tables[0], tables[1]
