"""Which characters of a text are encoded data: base64, base32, base85, hex, bits, dumps, escapes, lists of bytes,
random letters. Torch-free."""

import functools
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from fastweights.guard.tokens import counts_before, runs_of

_MIN_RUN = 4
_DUMP = re.compile(  # bytes written apart: "1f8b 0800 …", "1f 8b 08 …"
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2,32}[ :,\t\r\n]{1,3}){7,}[0-9a-fA-F]{2,32}\b"
)
_LONG_GROUP = 12  # digits
_MARKED_DUMPS = {  # by what must occur in the text
    "%": re.compile(r"(?:%[0-9a-fA-F]{2}){8,}"),
    "\\x": re.compile(r"(?:\\x[0-9a-fA-F]{2}){8,}"),
    "0x": re.compile(r"(?:0x[0-9a-fA-F]{2}, ?){8,}"),
}
_BLANK = np.zeros(256, dtype=bool)
_BLANK[list(b" :,\t\r\n")] = True
_MIN_EVIDENCE = 7.0  # nats
_MIN_EVIDENCE_LETTERS = 14.0  # the same without a digit: CamelCaseNames
_MIN_A_LETTER = 0.55  # nats; random letters have 1.06 at 16, few words or names of that length above 0.5
_MIN_SIGNED = 24  # characters of a run with signs (base85)
_MIN_EVIDENCE_SIGNED = 10.0
_MIN_A_SIGNED = 0.28  # nats a character; base85 has 0.48
_MIN_BITS = 7
_MIN_BYTES = 12  # numbers of a list of bytes
_MIN_LONG = 136  # characters without a blank: more than any hash that is written out
_MIN_SHARE_OF_LONG = 0.6
_MIN_CUT = 24
_MIN_LETTERS = 12  # a run of letters is judged by its pairs from here on


@functools.cache
def _class_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Byte -> character class; 4 * class + class -> evidence in nats for base64 and for hex.

    Classes: 0 lower, 1 upper, 2 digit, 3 other. Natural words hardly ever change class inside; encoded bytes change in
    two of three places (base64) or in every second (hex).
    """
    classes = np.full(256, 3, dtype=np.uint8)
    for first, last, number in ((97, 122, 0), (65, 90, 1), (48, 57, 2)):
        classes[first : last + 1] = number
    natural = np.array([[0.965, 0.012, 0.008], [0.10, 0.85, 0.02], [0.03, 0.02, 0.95]])
    share = np.array([26, 26, 10]) / 62
    base64_evidence = np.log(np.tile(share, (3, 1)) / natural)
    of_hex = np.array([6, 6, 10])
    hex_evidence = np.log(np.tile(of_hex / 16, (3, 1)) / natural)
    hex_evidence[0, 1] = hex_evidence[1, 0] = -6.0  # one case only
    by_pair = [np.pad(table, (0, 1)).ravel() for table in (base64_evidence, hex_evidence)]  # 4 * first + second
    return classes, by_pair[0], by_pair[1]


@functools.cache
def _pair_evidence() -> np.ndarray:
    """256 * byte + byte -> evidence in nats that two letters were drawn at random, not written; 0 for other bytes.

    Against the pairs of the shipped text, at least one in 250 for each: other languages have theirs.
    """
    text = files("fastweights.data").joinpath("assets/tiny.txt").read_bytes().lower()
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 97
    inside = (codes[:-1] >= 0) & (codes[:-1] < 26) & (codes[1:] >= 0) & (codes[1:] < 26)
    counts = np.bincount(codes[:-1][inside] * 26 + codes[1:][inside], minlength=26 * 26).reshape(26, 26) + 0.5
    natural = np.maximum(counts / counts.sum(1, keepdims=True), 0.004)
    evidence = np.log((1 / 26) / natural)
    table = np.zeros((256, 256))
    for base in (97, 65):
        table[base : base + 26, base : base + 26] = evidence
    return table.ravel()


_NOT_HEX = np.ones(256, dtype=np.uint8)
_NOT_HEX[list(b"0123456789abcdefABCDEF")] = 0


class Encoded(NamedTuple):
    """``characters`` in runs that look encoded; ``longest``: those of the longest run without a blank, 0 if short."""

    characters: int
    longest: int


def region_start(window: str, size: int) -> int:
    """Where the last ``size`` characters begin, or the long run without a blank that this would cut."""
    start = max(0, len(window) - size)
    if start == 0 or window[start].isspace():
        return start
    begin = max(window.rfind(blank, 0, start) for blank in " \n\t") + 1
    return begin if start - begin >= _MIN_CUT else start


def encoded_characters(text: str, raw: np.ndarray) -> Encoded:
    """What of ``text`` (``raw``: its Latin-1 bytes) stands in runs that look encoded. Linear time."""
    covered = _covered(text, raw)
    starts, ends = runs_of(raw > 32)
    long = ends - starts >= _MIN_LONG
    longest = 0
    if long.any():
        inside, starts, ends = counts_before(covered), starts[long], ends[long]
        found = inside[ends] - inside[starts]
        longest = int(np.where(found >= _MIN_SHARE_OF_LONG * (ends - starts), found, 0).max())
    return Encoded(int(np.count_nonzero(covered)), longest)


def _covered(text: str, raw: np.ndarray) -> np.ndarray:
    """Character -> whether it stands in a run that looks encoded."""
    covered = np.zeros(len(raw), dtype=bool)
    classes, base64_evidence, hex_evidence = _class_tables()
    kinds = classes[raw]
    starts, ends = runs_of(kinds < 3)
    not_hex = counts_before(_NOT_HEX[raw])
    is_hex = not_hex[ends] == not_hex[starts]
    for found in _dumps(text, raw, starts, ends, is_hex):
        covered[found.start() : found.end()] = True
    for first, last in (_bits(raw, starts, ends), _byte_lists(raw, starts, ends), _signed(raw, kinds)):
        for begin, end in zip(first.tolist(), last.tolist(), strict=True):
            covered[begin:end] = True
    long = ends - starts >= _MIN_RUN
    starts, ends, is_hex = starts[long], ends[long], is_hex[long]
    if not len(starts):
        return covered
    pairs = kinds[:-1] * 4 + kinds[1:]

    def total(evidence: np.ndarray) -> np.ndarray:
        sums = np.concatenate(([0.0], np.cumsum(evidence), [0.0]))
        return sums[ends - 1] - sums[starts]

    digits = counts_before(kinds == 2)
    with_digit = digits[ends] > digits[starts]
    best = total(base64_evidence[pairs])
    if is_hex.any():
        best = np.where(is_hex, np.maximum(best, total(hex_evidence[pairs])), best)
    strong = best >= np.where(with_digit, _MIN_EVIDENCE, _MIN_EVIDENCE_LETTERS)
    long = ~with_digit & (ends - starts >= _MIN_LETTERS)
    if long.any():
        strong |= long & (
            total(_pair_evidence()[raw[:-1].astype(np.int32) * 256 + raw[1:]]) >= _MIN_A_LETTER * (ends - starts)
        )
    edges = np.zeros(len(raw) + 1, dtype=np.int8)
    edges[starts[strong]] = 1
    edges[ends[strong]] -= 1
    covered |= np.cumsum(edges[:-1], dtype=np.int8) > 0
    return covered


_Spans = tuple[np.ndarray, np.ndarray]


def _bits(raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> _Spans:
    """Runs of the digits 0 and 1."""
    other = counts_before(raw >> 1 != ord("0") >> 1)
    bits = (ends - starts >= _MIN_BITS) & (other[ends] == other[starts])
    return starts[bits], ends[bits]


def _byte_lists(raw: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> _Spans:
    """Numbers from 0 to 255, a dozen and more one after the other, in no order, some of them with three digits."""
    size = ends - starts
    digits = counts_before((raw >= 48) & (raw < 58))
    number = (size <= 3) & (digits[ends] - digits[starts] == size)
    blanks = counts_before(_BLANK[raw])
    low, high = ends[:-1], starts[1:]
    joins = number[:-1] & number[1:] & (high - low <= 3) & (blanks[high] - blanks[low] == high - low)
    first, last = runs_of(joins)
    kept = last - first >= _MIN_BYTES - 1
    first, last = first[kept], last[kept]
    padded = np.concatenate((np.zeros(2, dtype=np.int64), raw - np.int64(48)))
    values = np.zeros(len(size), dtype=np.int64)
    for place in range(3):
        values += np.where(size > place, padded[ends + 1 - place], 0) * 10**place
    count = last - first + 1
    large, over = counts_before(values >= 100), counts_before(values > 255)
    up = counts_before(values[1:] > values[:-1])
    rises = (up[last] - up[first]) / np.maximum(count - 1, 1)
    wanted = (over[last + 1] == over[first]) & (large[last + 1] - large[first] >= 0.3 * count)
    wanted &= (rises > 0.2) & (rises < 0.8)
    return starts[first[wanted]], ends[last[wanted]]


@functools.cache
def _signed_evidence() -> np.ndarray:
    """4 * class + class -> evidence in nats for base85, against code and addresses."""
    natural = np.array(
        [[0.85, 0.03, 0.02, 0.10], [0.40, 0.45, 0.03, 0.12], [0.05, 0.03, 0.60, 0.32], [0.5, 0.12, 0.13, 0.25]]
    )
    return np.log(np.array([26, 26, 10, 23]) / 85 / natural).ravel()


def _signed(raw: np.ndarray, kinds: np.ndarray) -> _Spans:
    """Runs without a blank in which signs, digits and letters of both cases follow each other as in base85."""
    starts, ends = runs_of((raw > 32) & (raw < 127))
    long = ends - starts >= _MIN_SIGNED
    starts, ends = starts[long], ends[long]
    if not len(starts):
        return starts, ends
    sums = np.concatenate(([0.0], np.cumsum(_signed_evidence()[kinds[:-1] * 4 + kinds[1:]]), [0.0]))
    evidence = sums[ends - 1] - sums[starts]
    strong = (evidence >= _MIN_EVIDENCE_SIGNED) & (evidence >= _MIN_A_SIGNED * (ends - starts))
    return starts[strong], ends[strong]


def _dumps(
    text: str, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray, is_hex: np.ndarray
) -> Iterator[re.Match[str]]:
    """Bytes written apart; those without a mark are looked for where eight groups of hex digits follow each other."""
    size = ends - starts
    group = is_hex & (size >= 2) & (size <= 32)
    blanks = counts_before(_BLANK[raw])
    low, high = ends[:-1], starts[1:]
    joins = group[:-1] & group[1:] & (high - low <= 3) & (blanks[high] - blanks[low] == high - low)
    first, last = runs_of(joins)
    enough = last - first >= 7
    for begin, end in zip(starts[first[enough]].tolist(), ends[last[enough]].tolist(), strict=True):
        yield from (found for found in _DUMP.finditer(text, begin, end + 1) if _is_dump(found.group()))
    for sign, pattern in _MARKED_DUMPS.items():
        if sign in text:
            yield from pattern.finditer(text)


def _is_dump(run: str) -> bool:
    """Whether letters and digits mix as in a dump: a table of numbers has no letters, an encoded text few of them."""
    letters = sum(map(run.count, "abcdefABCDEF"))
    digits = sum(map(run.count, "0123456789"))
    size = letters + digits
    least = 0.15 if size < _LONG_GROUP * len(run.split()) else 0.05
    return letters >= least * size and digits >= 0.25 * size
