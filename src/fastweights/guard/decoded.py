"""What the base64 and hex of a text say: every run is decoded at every alignment, over arrays. Torch-free, linear time.

So a passage is found whatever stands before it: decoys cost the attacker the room that they take, nothing else.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastweights.guard.normalize import MAX_CHARACTERS
from fastweights.guard.tokens import bytes_of, counts_before, runs_of

_MIN_RUN = 16  # characters of base64, digits of hex
_APART = 8  # of the gap's digits between two runs in a stream: no byte is made of two runs
_GAP = 255
_SEEN = 12  # bytes in which one may be unreadable


class _Stream(NamedTuple):
    """Digits of all runs, ``_APART`` times ``_GAP`` before each and at the end, and where each ends in the text."""

    digits: np.ndarray
    ends: np.ndarray


class _Bytes(NamedTuple):
    """What a stream decodes to from digit ``shift`` on: ``made`` bytes of each ``of`` digits."""

    data: np.ndarray
    ends: np.ndarray
    shift: int
    made: int
    of: int

    def end(self, at: np.ndarray) -> np.ndarray:
        """Where byte ``at`` ends in the text."""
        return self.ends[self.shift + at // self.made * self.of + at % self.made + 1]


def decoded(raw: str, border: int = 0) -> Iterator[str]:
    """The readable passages that base64 (also URL-safe, also in pieces) and hex runs of ``raw`` decode to, once.

    Passages that end in ``raw[:border]`` are left out; the others come parted by blank lines, in texts of 65,536
    characters and less. Hex digits stand together, or apart as in "69 67", "0x69,0x67", "\\x69\\x67", "%69%67".
    """
    codes = bytes_of(raw[-MAX_CHARACTERS:])
    border -= max(0, len(raw) - MAX_CHARACTERS)
    together: list[str] = []
    for found in (*_from_base64(codes), *_from_hex(codes)):
        passages = _readable(found, border)
        if sum(map(len, together)) + len(passages) > MAX_CHARACTERS:
            yield "\n\n".join(together)
            together = []
        if passages:
            together.append(passages)
    if together:
        yield "\n\n".join(together)


def _from_base64(codes: np.ndarray) -> Iterator[_Bytes]:
    """At each of four alignments."""
    starts, ends = _base64_runs(codes)
    if not len(starts):
        return
    digits, places = _stream(_base64_digits()[codes], starts, ends)
    first, second = digits[:-1], digits[1:]
    pairs = [(first << (2 + 2 * i)) | (second >> (4 - 2 * i)) for i in range(3)]  # the three bytes of four digits
    gap = (first == _GAP) | (second == _GAP)
    for pair in pairs:
        pair[gap] = 10
    for shift in range(4):
        groups = (len(digits) - shift) // 4
        data = np.empty((groups, 3), dtype=np.uint8)
        for i, pair in enumerate(pairs):
            data[:, i] = pair[shift + i :: 4][:groups]
        yield _Bytes(data.ravel(), places, shift, 3, 4)


def _from_hex(codes: np.ndarray) -> Iterator[_Bytes]:
    """At both alignments."""
    kinds = _kinds()[codes]
    digit, between = (kinds & 16) > 0, (kinds & 32) > 0
    if np.count_nonzero(digit) < _MIN_RUN:
        return
    marked = (kinds[1:] & 64) > 0  # an x
    if marked.any():
        marked &= (codes[:-1] == ord("0")) | (codes[:-1] == ord("\\"))
        digit[:-1] &= ~marked
        between[:-1] |= marked
        between[1:] |= marked
    starts, ends = runs_of(digit | between)
    digits = counts_before(digit)
    long = digits[ends] - digits[starts] >= _MIN_RUN
    if not long.any():
        return
    stream, places = _stream(np.where(digit, _hex_digits()[codes], np.uint8(_GAP)), starts[long], ends[long])
    first, second = stream[:-1], stream[1:]
    pair = (first << 4) | second
    pair[(first == _GAP) | (second == _GAP)] = 10
    for shift in range(2):
        yield _Bytes(pair[shift::2], places, shift, 1, 2)


def _stream(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> _Stream:
    """What is a digit (not ``_GAP``) in the runs ``[starts, ends)``."""
    edges = np.zeros(len(values) + 1, dtype=np.int8)
    edges[starts] = 1
    edges[ends] -= 1
    is_digit = values != _GAP
    at = np.flatnonzero(np.cumsum(edges[:-1], dtype=np.int8).view(bool) & is_digit)
    before = counts_before(is_digit)
    to = np.arange(len(at)) + np.repeat(_APART * np.arange(1, len(starts) + 1), before[ends] - before[starts])
    digits = np.full(len(at) + _APART * (len(starts) + 1), _GAP, dtype=np.uint8)
    places = np.zeros(len(digits), dtype=np.int32)
    digits[to], places[to] = values[at], at + 1
    return _Stream(digits, np.maximum.accumulate(places))


def _readable(found: _Bytes, border: int) -> str:
    """The passages in which nearly every byte is printable or part of a character in UTF-8."""
    data = found.data
    bad = np.zeros(len(data) + 1, dtype=np.uint8)  # a few bytes apart, differences are right modulo 256
    np.cumsum(_strange(data), dtype=np.uint8, out=bad[1:])
    seen = np.flatnonzero(bad[_SEEN:] - bad[:-_SEEN] <= 1)
    if not len(seen):
        return ""
    new = np.flatnonzero(seen[1:] - seen[:-1] > _SEEN)
    first = seen[np.concatenate(([0], new + 1))]
    last = seen[np.append(new, len(seen) - 1)] + _SEEN
    blank = counts_before(data == 10)
    wanted = (found.end(last - 1) > border) & (blank[last] - blank[first] < last - first)
    first, last = first[wanted], last[wanted]
    if not len(first):
        return ""
    edges = np.zeros(len(data) + 1, dtype=np.int8)
    edges[first] = 1
    edges[last] -= 1
    shown = np.cumsum(edges, dtype=np.int8).view(bool)
    shown[last] = True
    passages = np.append(np.maximum(data, 1), np.uint8(0))
    passages[last] = 0
    return passages[shown].tobytes().decode("utf-8", "replace").replace("\0", "\n\n")


def _strange(data: np.ndarray) -> np.ndarray:
    """Bytes that are neither printable nor part of a character in UTF-8."""
    kinds = _byte_kinds()[data]
    strange, follows = (kinds & 1) > 0, (kinds & 2) > 0
    for size, bit in ((2, 4), (3, 8), (4, 16)):
        at = np.flatnonzero((kinds[: 1 - size] & bit) > 0)
        for i in range(1, size):
            at = at[follows[at + i]]
        for i in range(size):
            strange[at + i] = False
    return strange


@functools.cache
def _byte_kinds() -> np.ndarray:
    """Byte -> 1 not printable, 2 follows in UTF-8, 4, 8, 16 begins two, three, four bytes."""
    table = np.ones(256, dtype=np.uint8)
    table[[*range(32, 127), 9, 10, 13]] = 0
    for low, high, bit in ((0x80, 0xC0, 2), (0xC2, 0xE0, 4), (0xE0, 0xF0, 8), (0xF0, 0xF5, 16)):
        table[low:high] |= bit
    return table


def _base64_runs(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of base64 characters stand, spaces between long pieces included.

    A run: a piece of four and more, then pieces of eight and more, each after a space or line; 16 characters at least.
    Both cases or digits occur inside (an ordinary word is not decoded).
    """
    kinds = _kinds()[codes]
    starts, ends = runs_of((kinds & 1) > 0)
    if not len(starts):
        return starts, ends
    signs = counts_before(kinds & 2)  # "=", at most two, then one to three blanks
    blanks = counts_before(kinds & 4)
    low, high = ends[:-1], starts[1:]
    padded, parted = signs[high] - signs[low], blanks[high] - blanks[low]
    joins = (padded + parted == high - low) & (padded <= 2) & (parted >= 1) & (parted <= 3)
    joins &= signs[np.minimum(low + padded, high)] - signs[low] == padded
    joins &= (ends[:-1] - starts[:-1] >= 4) & (high + 8 <= ends[1:])
    inside = counts_before(kinds & 8)
    mixed = inside[ends] > inside[starts + 1]  # else a word that stands beside it
    joins &= mixed[:-1] & mixed[1:]
    first = np.flatnonzero(np.concatenate(([True], ~joins)))
    last = np.append(first[1:], len(starts)) - 1
    long, start, end = ends[first] - starts[first] >= 4, starts[first], ends[last]
    other = counts_before(kinds & 17 == 1)  # what is hex throughout is read as hex
    wanted = long & (end - start >= _MIN_RUN) & (inside[end] > inside[start + 1]) & (other[end] > other[start])
    return start[wanted], end[wanted]


_UPPER_OR_DIGIT = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"


@functools.cache
def _kinds() -> np.ndarray:
    table = np.zeros(256, dtype=np.uint8)
    in_base64 = _UPPER_OR_DIGIT + _LOWER + "+/_-"
    in_hex, between_hex = "0123456789abcdefABCDEF", " \t\r\n:,%"
    for bit, characters in enumerate((in_base64, "=", " \t\r\n", _UPPER_OR_DIGIT, in_hex, between_hex, "x")):
        table[[ord(character) for character in characters]] |= 1 << bit
    return table


@functools.cache
def _base64_digits() -> np.ndarray:
    table = np.full(256, _GAP, dtype=np.uint8)
    for value, character in enumerate(_UPPER_OR_DIGIT[:26] + _LOWER + _UPPER_OR_DIGIT[26:] + "+/"):
        table[ord(character)] = value
    table[ord("-")], table[ord("_")] = 62, 63
    return table


@functools.cache
def _hex_digits() -> np.ndarray:
    table = np.full(256, _GAP, dtype=np.uint8)
    for value, character in enumerate("0123456789abcdef"):
        table[[ord(character), ord(character.upper())]] = value
    return table
