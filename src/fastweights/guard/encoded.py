"""Which characters of a text are encoded data: base64, base32, hex, dumps, escapes, random letters. Torch-free."""

import functools
import re
from collections.abc import Iterator
from importlib.resources import files

import numpy as np

from fastweights.guard.tokens import counts_before, runs_of

_MIN_RUN = 4
_DUMP = re.compile(  # bytes written apart: "1f8b 0800 …", "1f 8b 08 …"
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2,8}[ :,\t\r\n]{1,3}){7,}[0-9a-fA-F]{2,8}\b"
)
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


def encoded_characters(text: str, raw: np.ndarray) -> int:
    """How many characters of ``text`` (``raw``: its Latin-1 bytes) stand in runs that look encoded. Linear time."""
    covered = np.zeros(len(raw), dtype=bool)
    classes, base64_evidence, hex_evidence = _class_tables()
    kinds = classes[raw]
    starts, ends = runs_of(kinds < 3)
    not_hex = counts_before(_NOT_HEX[raw])
    is_hex = not_hex[ends] == not_hex[starts]
    for found in _dumps(text, raw, starts, ends, is_hex):
        covered[found.start() : found.end()] = True
    long = ends - starts >= _MIN_RUN
    starts, ends, is_hex = starts[long], ends[long], is_hex[long]
    if not len(starts):
        return int(covered.sum())
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
    return int(covered.sum())


def _dumps(
    text: str, raw: np.ndarray, starts: np.ndarray, ends: np.ndarray, is_hex: np.ndarray
) -> Iterator[re.Match[str]]:
    """Bytes written apart; those without a mark are looked for where eight groups of hex digits follow each other."""
    size = ends - starts
    group = is_hex & (size >= 2) & (size <= 8)
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
    """Whether letters and digits mix as in a dump: a table of numbers has no letters."""
    letters = sum(map(run.count, "abcdefABCDEF"))
    digits = sum(map(run.count, "0123456789"))
    return letters >= 0.15 * (letters + digits) and digits >= 0.25 * (letters + digits)
