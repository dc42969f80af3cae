"""The views of a text that an override hides behind: letters squeezed together, leet, rot13, base64 and hex.

All but :func:`decoded` take a folded text (:func:`~fastweights.guard.normalize.fold`) and run in linear time.
"""

import functools
from typing import NamedTuple

import numpy as np

from fastweights.guard.tokens import bytes_of, counts_before, runs_of

_LEET_I = str.maketrans("013456789@$!|+€¢", "oieasgtbgasiitec")
_LEET_L = str.maketrans("013456789@$!|+€¢", "oleasgtbgasllt" + "ec")
_ROT13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")


def looks_leet(folded: str) -> bool:
    """Whether digits or signs stand inside words: ``g0o``, ``1g``, or set apart as in ``g-0-o``."""
    if len(folded) < 2:
        return False
    kinds = _leet_kinds()[bytes_of(folded)]
    letter, sign, begins, digit, gap, plain = ((kinds & (1 << bit)) > 0 for bit in range(6))
    return bool(
        (begins[:-1] & letter[1:]).any()
        or (letter[:-2] & sign[1:-1] & (letter | sign)[2:]).any()
        or (plain[:-4] & gap[1:-3] & digit[2:-2] & gap[3:-1] & plain[4:]).any()
    )


@functools.cache
def _leet_kinds() -> np.ndarray:
    digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyz"
    kinds = (letters, digits + "@$!|+", digits + "@$!|", digits + "@$", "-_.*~/ ", letters + digits)
    table = np.zeros(256, dtype=np.uint8)
    for bit, characters in enumerate(kinds):
        table[[ord(character) for character in characters]] |= 1 << bit
    return table


def leet(folded: str) -> tuple[str, str]:
    """The text with digits and signs read as letters: ``1 ! |`` as i, and as l. Both keep every position."""
    return _translate(folded, _LEET_I), _translate(folded, _LEET_L)


def letterless_hidden(folded: str) -> str:
    """The text with "_" for every sign of what stands between blanks without a letter: "1." and "|" are no words."""
    raw = bytes_of(folded)
    starts, ends = runs_of((raw != 32) & (raw != 10) & (raw != 9))
    letters = counts_before((raw - np.uint8(97)) < 26)
    alone = letters[starts] == letters[ends]
    if not alone.any():
        return folded
    edges = np.zeros(len(raw) + 1, dtype=np.int32)
    edges[starts[alone]] += 1
    edges[ends[alone]] -= 1
    codes = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    hidden = np.where(np.cumsum(edges[:-1]) > 0, np.uint32(ord("_")), codes).astype(np.uint32)
    return hidden.tobytes().decode("utf-32-le", "surrogatepass")


def rot13(folded: str) -> str:
    return _translate(folded, _ROT13)


def _translate(text: str, table: dict[int, int]) -> str:
    """``str.translate`` of single characters, fast for texts that are not ASCII too."""
    if text.isascii():
        return text.translate(table)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    low = np.arange(256, dtype=np.uint32)
    for code, to in table.items():
        if code < 256:
            low[code] = to
    return (
        np.where(codes < 256, low[codes & 255], codes).astype(np.uint32).tobytes().decode("utf-32-le", "surrogatepass")
    )


class Squeezed(NamedTuple):
    """The letters a-z of a folded text without anything between; ``at[i]`` is letter i's place in the folded text."""

    letters: str
    at: np.ndarray


def squeeze(folded: str) -> Squeezed:
    raw = bytes_of(folded)
    at = np.flatnonzero((raw - np.uint8(97)) < 26)
    return Squeezed(raw[at].tobytes().decode("ascii"), at)
