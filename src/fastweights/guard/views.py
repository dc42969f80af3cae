"""The views of a text that an override hides behind: letters squeezed together, leet, rot13, base64 and hex.

All but :func:`decoded` take a folded text (:func:`~fastweights.guard.normalize.fold`) and run in linear time.
"""

import base64
import binascii
import functools
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastweights.guard.normalize import MAX_CHARACTERS
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


_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}[ \t\r\n:,]{0,2}){8,})")
_MIN_RUN = 16
_MAX_RUNS = 64


class Decoded(NamedTuple):
    text: str
    end: int  # where the encoded run ends in the raw text


def decoded(raw: str) -> Iterator[Decoded]:
    """Readable texts that base64 (also URL-safe, also broken by spaces) and hex runs of ``raw`` decode to, once."""
    raw = raw[-MAX_CHARACTERS:]
    for start, end in _base64_runs(raw):
        run = raw[start:end]
        pieces = {"".join(run.split()), *run.split()} if len(run) < 512 else {"".join(run.split())}
        for piece in pieces:
            for offset in range(4):  # the look-back may begin in the middle of a run
                if (text := _base64(piece[offset:])) is not None:
                    yield Decoded(text, end)
    for found in itertools.islice(_hex_runs(raw), _MAX_RUNS):
        digits = re.sub(r"[^0-9a-fA-F]", "", found.group(1))
        for offset in range(2):
            piece = digits[offset:]
            text = _readable(binascii.unhexlify(piece[: len(piece) // 2 * 2]))
            if text is not None:
                yield Decoded(text, found.end())


def _hex_runs(text: str) -> Iterator[re.Match[str]]:
    """Eight bytes and more in hex, with or without separators; looked for where 16 such digits stand together."""
    kinds = _run_kinds()[bytes_of(text)]
    if not (kinds & 64).any():
        return
    starts, ends = runs_of((kinds & 48) > 0)
    digits = counts_before(kinds & 16)
    for at in np.flatnonzero(digits[ends] - digits[starts] >= _MIN_RUN).tolist():
        yield from _HEX.finditer(text, int(starts[at]), int(ends[at]))


def _base64_runs(text: str) -> list[tuple[int, int]]:
    """Where the first runs of base64 characters stand, spaces between long pieces included.

    A run: a piece of four and more, then pieces of eight and more, each after a space or line; 16 characters at least.
    Both cases or digits occur inside (an ordinary word is not decoded).
    """
    raw = bytes_of(text)
    kinds = _run_kinds()[raw]
    starts, ends = runs_of((kinds & 1) > 0)
    if not len(starts):
        return []
    signs = counts_before(kinds & 2)  # "=", at most two, then one to three blanks
    blanks = counts_before(kinds & 4)
    low, high = ends[:-1], starts[1:]
    padded, parted = signs[high] - signs[low], blanks[high] - blanks[low]
    joins = (padded + parted == high - low) & (padded <= 2) & (parted >= 1) & (parted <= 3)
    joins &= signs[np.minimum(low + padded, high)] - signs[low] == padded
    joins &= (ends[:-1] - starts[:-1] >= 4) & (high + 8 <= ends[1:])
    first = np.flatnonzero(np.concatenate(([True], ~joins)))
    last = np.append(first[1:], len(starts)) - 1
    first_piece, start, end = ends[first] - starts[first], starts[first], ends[last]
    for _ in range(2):
        end = end + ((end < len(raw)) & (raw[np.minimum(end, len(raw) - 1)] == ord("=")))
    inside = counts_before(kinds & 8)
    mixed = inside[np.maximum(np.minimum(start + 65, end), start + 1)] > inside[start + 1]
    wanted = np.flatnonzero((first_piece >= 4) & (end - start >= _MIN_RUN) & mixed)[:_MAX_RUNS]
    return list(zip(start[wanted].tolist(), end[wanted].tolist(), strict=True))


@functools.cache
def _run_kinds() -> np.ndarray:
    table = np.zeros(256, dtype=np.uint8)
    upper_or_digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    in_base64 = upper_or_digit + upper_or_digit.lower() + "+/_-"
    in_hex, between_hex = "0123456789abcdefABCDEF", " \t\r\n:,"
    for bit, characters in enumerate((in_base64, "=", " \t\r\n", upper_or_digit, in_hex, between_hex, in_hex[:10])):
        table[[ord(character) for character in characters]] |= 1 << bit
    return table


def _base64(piece: str) -> str | None:
    piece = piece.rstrip("=").translate(_URL_SAFE)
    if len(piece) < _MIN_RUN - 4 or "=" in piece:
        return None
    whole = piece[: len(piece) // 4 * 4]
    rest = piece[len(whole) :]
    if len(rest) > 1:
        whole += rest + "=" * (4 - len(rest))
    try:
        return _readable(base64.b64decode(whole))
    except binascii.Error:
        return None


_URL_SAFE = str.maketrans("-_", "+/")
_PRINTABLE = bytes(range(32, 127)) + b"\t\r\n"


def _readable(data: bytes) -> str | None:
    """The bytes as text if nearly all of them are printable."""
    strange = len(data.translate(None, _PRINTABLE))
    if len(data) < 8 or strange > len(data) // 8:
        return None
    return data.decode("utf-8", "replace")
