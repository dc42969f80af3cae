"""Statistics of a text that tell natural writing from repetition, encoded blobs and minified code. Torch-free.

Each is a :class:`Statistic`: a value and the size that it was measured on, because what is normal depends on the size.
Sizes below a statistic's floor give ``None``: a short chunk is never judged by its length. Text statistics look at the
chunk with the look-back before it, so that a small chunk is seen in its surroundings.
"""

import functools
import re
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from fastweights.guard.encoded import encoded_characters, region_start
from fastweights.guard.normalize import MAX_CHARACTERS
from fastweights.guard.tokens import counts_before, runs_of

LOOK_BACK = 512
"""Characters of earlier text that the statistics use."""

MAX_SCANNED = 32_768
"""A longer chunk is judged by windows of this many characters; the worst one counts."""

_REGION = 256  # blob and minified shares are of at least so many characters
_MIN_UNITS = 24
_COMPRESSED = 4096  # characters that are compressed at most
_COMPARED_UNITS = 48
_CYCLE_WINDOW = 2 * LOOK_BACK + 1024  # characters
_MIN_RULER = 6
_SIGN = re.compile(r"[^\w\s]")
_LONGEST_RULER = 160
_SIGN_CELLS = re.compile(r"(?:\|[^\w\n|]{0,40}){3,}")  # of a table: "| --- | :-: |", "| ✔ | - | - |"
_UNIT = re.compile(r"[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff]|[^\W_]{1,16}|[^\w\s]")


class Statistic(NamedTuple):
    value: float
    size: int


class Signals(NamedTuple):
    """Everything that the input checks judge; ``None`` where there was too little to measure."""

    entropy: Statistic | None  # bits a token, by number of tokens
    diversity: Statistic | None  # distinct / all tokens
    compression: Statistic | None  # zlib length / bytes of look-back and chunk, by bytes
    cycle: Statistic | None  # share of the latest words that repeat those one period before, by number of words
    blob: Statistic | None  # share of characters in base64- or hex-like runs, by characters
    minified: Statistic | None  # share of characters in code without spaces
    vocabulary: Statistic | None  # distinct / all of the latest words, whatever their case


def measure(text: str, tail: str = "", ids: Sequence[int] = ()) -> Signals:
    """All signals of one chunk. Never fails; linear in the length, and no more is looked at than the last 65,536
    characters and as large a share of the tokens."""
    if len(text) > MAX_CHARACTERS:
        ids = ids[len(ids) * (len(text) - MAX_CHARACTERS) // len(text) :]
        tail, text = text[-MAX_CHARACTERS - LOOK_BACK : -MAX_CHARACTERS], text[-MAX_CHARACTERS:]
    kept = tail[-LOOK_BACK:]
    entropy, diversity = token_statistics(ids, text)
    pieces = [text] if len(text) <= MAX_SCANNED else [
        text[max(0, start - LOOK_BACK) : start + MAX_SCANNED] for start in range(0, len(text), MAX_SCANNED)
    ]  # fmt: skip
    found = [_text_statistics(piece, kept if i == 0 else "") for i, piece in enumerate(pieces)]
    compression, cycle, blob, minified, vocabulary = zip(*found, strict=True)
    return Signals(
        entropy,
        diversity,
        _worst(compression, low=True),
        _worst(cycle),
        _worst(blob),
        _worst(minified),
        _worst(vocabulary, low=True),
    )


def _text_statistics(text: str, tail: str) -> tuple[Statistic | None, ...]:
    window = _shorten_rulers(tail + text)
    fresh = max(0, len(window) - len(_shorten_rulers(tail)))
    units, words = _units(window)
    return compression(window), cycle(window, units, words, fresh), *blobs(window, fresh), vocabulary(words)


def _worst(values: Sequence[Statistic | None], low: bool = False) -> Statistic | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return min(known) if low else max(known)


def _shorten_rulers(text: str) -> str:
    """Lines of dashes, indents and blank lines cut to a few characters; endless ones are left, they are repetition."""
    starts, ends = _rulers(text)
    cut = ends - starts <= _LONGEST_RULER
    if not cut.any():
        return text
    pieces, at = [], 0
    for start, end in zip((starts[cut] + 4).tolist(), ends[cut].tolist(), strict=True):
        pieces.append(text[at:start])
        at = end
    return "".join(pieces) + text[at:]


def _rulers(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Where six and more of the same sign, or blanks of any kind, stand together; and where each has ended."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if len(codes) < _MIN_RULER:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    blank = (codes == 32) | (codes == 9) | (codes == 10)
    same = codes[1:] == codes[:-1]
    starts, ends = runs_of(same & ~blank[1:])
    long = ends - starts >= _MIN_RULER - 1
    starts, ends = starts[long], ends[long] + 1
    if len(starts):
        signs, which = np.unique(codes[starts], return_inverse=True)
        signed = np.array([_SIGN.match(chr(sign)) is not None for sign in signs.tolist()])[which]
        starts, ends = starts[signed], ends[signed]
    blank_starts, blank_ends = runs_of(blank)
    long = blank_ends - blank_starts >= _MIN_RULER
    if not long.any():
        return starts, ends
    starts, ends = np.concatenate((starts, blank_starts[long])), np.concatenate((ends, blank_ends[long]))
    order = np.argsort(starts)
    return starts[order], ends[order]


# -------------------------------------------------------------------------------------------------- tokens


def token_statistics(ids: Sequence[int], text: str = "") -> tuple[Statistic | None, Statistic | None]:
    """Entropy (bits) and diversity (distinct/all) of the token ids; runs from a ruler in ``text`` count shortened.

    Nothing is measured where a third of the chunk is ruler or a table's cells of signs (repetition looks at that).
    """
    if len(ids) == 0:
        return None, None
    seen = text[:MAX_SCANNED]
    starts, ends = _rulers(seen)
    ruled = int((ends - starts).sum())
    cells = sum(match.end() - match.start() for match in _SIGN_CELLS.finditer(seen))
    if max(ruled, cells) > 0.3 * len(seen):
        return None, None
    if ruled:
        ids = _shorten_runs(ids)
    counts = np.array(list(Counter(ids).values()), dtype=np.float64) / len(ids)
    return (
        Statistic(abs(float(-(counts * np.log2(counts)).sum())), len(ids)),
        Statistic(len(counts) / len(ids), len(ids)),
    )


def _shorten_runs(ids: Sequence[int]) -> Sequence[int]:
    array = np.asarray(ids)
    same = np.concatenate(([False], array[1:] == array[:-1]))
    index = np.arange(len(array))
    run_start = np.maximum.accumulate(np.where(same, 0, index))
    return array[index - run_start < 4].tolist()


# -------------------------------------------------------------------------------------------------- repetition


def compression(window: str) -> Statistic | None:
    """zlib (level 9) length over bytes; ``None`` below 64 bytes."""
    data = window[-_COMPRESSED:].encode("utf-8", "replace")
    if len(data) < 64:
        return None
    return Statistic(len(zlib.compress(data, 9)) / len(data), len(data))


class _Units(NamedTuple):
    """Words and signs of a window's end, and where each begins there."""

    texts: list[str]
    starts: list[int]


def _units(window: str) -> tuple[_Units, _Units]:
    """All words and signs of the window's last characters, in lower case; and the words alone."""
    found = list(_UNIT.finditer(window[-_CYCLE_WINDOW:].lower()))
    texts, starts = [one.group() for one in found], [one.start() for one in found]
    is_word = list(map(str.isalnum, texts))
    return _Units(texts, starts), _Units(list(compress(texts, is_word)), list(compress(starts, is_word)))


def cycle(window: str, units: _Units, words: _Units, fresh: int) -> Statistic | None:
    """The largest share, over all periods, of the latest words that equal the word one period earlier.

    ``units``: the words and signs of the window's end; ``words``: those without signs. The latest are the last
    ``fresh`` characters' (48 at least, where there are so many). Signs count, a quarter of a word each, only where
    there are few words: a cycle is one whatever stands between its words. The size is the number of units compared.
    """
    enough = len(words.texts) >= _MIN_UNITS
    texts, starts = words if enough else units
    if len(texts) < _MIN_UNITS:
        return None
    border = min(len(window), _CYCLE_WINDOW) - fresh
    latest = min(256, max(_COMPARED_UNITS, len(starts) - bisect_left(starts, border)))
    weights = np.array([1.0 if enough or text.isalnum() else 0.25 for text in texts], dtype=np.float32)
    return _cycle(np.array(list(map(hash, texts)), dtype=np.int64), weights, latest)


def vocabulary(words: _Units) -> Statistic | None:
    """Distinct over all of the last 256 words; a few words in any order, case or punctuation are a small vocabulary."""
    latest = words.texts[-256:]
    return Statistic(len(set(latest)) / len(latest), len(latest)) if latest else None


def _cycle(units: np.ndarray, weights: np.ndarray, latest: int) -> Statistic:
    """Compare the ``latest`` units with those p before, for every p."""
    n = len(units)
    latest = min(latest, n - 1)
    longest = min(n - 1, latest * 5 // 4)  # farther away, a passage said twice is no cycle yet
    padded = np.concatenate((np.zeros(max(0, longest + latest - n), dtype=np.int64), units))
    m = len(padded)
    recent = padded[m - latest :]
    earlier = np.lib.stride_tricks.sliding_window_view(padded[m - latest - longest : m - 1], latest)
    known = np.minimum(latest, n - np.arange(longest, 0, -1))  # what lies before the window is compared with nothing
    weight = weights[n - latest :]
    compared = np.cumsum(weight[::-1])[known - 1]
    same = (earlier == recent) @ weight
    floor = max(6.0, min(24.0, 0.5 * float(weight.sum())))
    shares = np.where(known >= 12, same / np.maximum(compared, floor), 0.0)
    best = int(np.argmax(shares))
    return Statistic(float(shares[best]), latest)


# -------------------------------------------------------------------------------------------------- blobs

_MIN_BLOB = 72
_SHORT = 28  # characters: a text that has no more than a line yet is judged by that line
_CODE_SIGNS = "(){}[];=,&!:<>"  # no "?": what is not Latin-1 is read as one


@functools.cache
def _code_flags() -> np.ndarray:
    """Byte -> 1 sign of code, 2 blank, 4 letter, 8 line break, 0 other."""
    flags = np.zeros(256, dtype=np.uint8)
    for letter in _CODE_SIGNS.encode():
        flags[letter] = 1
    for letter in b" \t\r":
        flags[letter] = 2
    flags[10] = 8
    flags[[*range(65, 91), *range(97, 123)]] = 4
    return flags


def blobs(window: str, fresh: int) -> tuple[Statistic | None, Statistic | None]:
    """Shares of the last characters (the chunk, 256 at least) that are encoded, and that are code without spaces.

    Runs of encoded text count only together, from 72 characters on: an identifier or one hash is no blob. The first
    chunk of a text may have fewer: then nearly all of it must be encoded.
    """
    window = window[region_start(window, max(fresh, _REGION)) :]
    raw = np.frombuffer(window.encode("latin-1", "replace"), dtype=np.uint8)
    if len(raw) < _SHORT:
        return None, None
    covered, longest = encoded_characters(window, raw)
    if len(raw) < _MIN_BLOB:
        return Statistic(covered / len(raw) if covered >= 0.85 * len(raw) else 0.0, len(raw)), None
    share = covered / max(len(raw), _REGION) if covered >= _MIN_BLOB else 0.0
    if covered >= 0.85 * len(raw):
        share = covered / len(raw)
    share = max(share, min(1.0, longest / _REGION))  # a long run is one wherever it stands
    return Statistic(share, len(raw)), Statistic(_minified(_code_flags()[raw]), len(raw))


_WINDOW = 64


def _minified(flags: np.ndarray) -> float:
    """Share of 64-character windows with code signs and letters but almost no space."""
    if len(flags) < _WINDOW:
        return 0.0

    def per_window(flag: int) -> np.ndarray:
        sums = counts_before(flags == flag)
        return sums[_WINDOW:] - sums[:-_WINDOW]

    blank = per_window(2) + 3 * per_window(8)  # short lines are no minified code
    dense = (per_window(1) >= 9) & (blank <= 5) & (per_window(4) >= 18)
    return float(dense.sum()) / max(len(dense), _REGION - _WINDOW)
