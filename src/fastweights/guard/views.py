"""The views of a text that an override hides behind: letters squeezed together, leet, rot13, base64 and hex.

All but :func:`decoded` take a folded text (:func:`~fastweights.guard.normalize.fold`) and run in linear time.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastweights.guard.normalize import MAX_CHARACTERS

_LEET_I = str.maketrans("013456789@$!|+€¢", "oieasgtbgasiitec")
_LEET_L = str.maketrans("013456789@$!|+€¢", "oleasgtbgasllt" + "ec")
_LEET = re.compile(r"[a-z][0-9@$!|+][a-z0-9@$!|+]|[0-9@$|!][a-z]|[a-z0-9][-_.*~/ ][0-9@$][-_.*~/ ][a-z0-9]")
_ROT13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")


def looks_leet(folded: str) -> bool:
    """Whether digits or signs stand inside words."""
    return _LEET.search(folded) is not None


def leet(folded: str) -> tuple[str, str]:
    """The text with digits and signs read as letters: ``1 ! |`` as i, and as l. Both keep every position."""
    return _translate(folded, _LEET_I), _translate(folded, _LEET_L)


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
    raw = np.frombuffer(folded.encode("latin-1", "replace"), dtype=np.uint8)
    at = np.flatnonzero((raw >= 97) & (raw <= 122))
    return Squeezed(raw[at].tobytes().decode("ascii"), at)


_RUN = re.compile(r"[A-Za-z0-9+/_\-]{4,}={0,2}(?:[ \t\r\n]{1,3}[A-Za-z0-9+/_\-]{8,}={0,2})*")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-fA-F]{2}[ \t\r\n:,]{0,2}){8,})")
_DIGIT = re.compile("[0-9]")
_UPPER_OR_DIGIT = re.compile("[A-Z0-9]")
_MIN_RUN = 16
_MAX_RUNS = 64


class Decoded(NamedTuple):
    text: str
    end: int  # where the encoded run ends in the raw text


def decoded(raw: str) -> Iterator[Decoded]:
    """Readable texts that base64 (also URL-safe, also broken by spaces) and hex runs of ``raw`` decode to, once."""
    raw = raw[-MAX_CHARACTERS:]
    runs = 0
    for found in _RUN.finditer(raw):
        run = found.group()
        if len(run) < _MIN_RUN or not _mixed(run):
            continue
        runs += 1
        if runs > _MAX_RUNS:
            break
        pieces = {"".join(run.split()), *run.split()} if len(run) < 512 else {"".join(run.split())}
        for piece in pieces:
            for offset in range(4):  # the look-back may begin in the middle of a run
                if (text := _base64(piece[offset:])) is not None:
                    yield Decoded(text, found.end())
    if _DIGIT.search(raw) is None:
        return
    for found, _ in zip(_HEX.finditer(raw), range(_MAX_RUNS), strict=False):
        digits = re.sub(r"[^0-9a-fA-F]", "", found.group(1))
        for offset in range(2):
            piece = digits[offset:]
            text = _readable(binascii.unhexlify(piece[: len(piece) // 2 * 2]))
            if text is not None:
                yield Decoded(text, found.end())


def _mixed(run: str) -> bool:
    """Both cases or digits occur inside: an ordinary word is not decoded."""
    return _UPPER_OR_DIGIT.search(run, 1, 65) is not None


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
