"""Finding override phrases in a run of letters: where one may begin, and which words it falls into. Torch-free."""

import functools
import re
from collections.abc import Callable

import numpy as np

from fastweights.guard.free_form import all_matches
from fastweights.guard.grammar import Hit, hit_of
from fastweights.guard.lexicon import class_letters, word_set
from fastweights.guard.lexicon import words as lexicon
from fastweights.guard.views import rot13

WORD = re.compile(r"[a-z]+(?:'[a-z]{1,2}\b)?")

WINDOW = 96
"""Letters from where a verb begins that a phrase may take."""

_ANCHORS = (
    *(word for word, code in lexicon().items() if code == "v" and len(word) >= 6),
    *(word for word, code in lexicon().items() if code == "V" and len(word) >= 7),
    *sorted(
        word_set(
            """youarenow actas pretendto pretendyou payno stopfollow stopobey donotfollow donotobey roleplayas
            respondas youareno dontfollow forgetall nolonger throwaway throwout castaside setaside youhaveno
            fromnowon"""
        )
    ),
)
_ROOTS = sorted(  # a window without one of these holds no override
    word_set(
        """instru guardrail safeguard guideline directive prompt rule
        command order restriction constraint polic message limit program
        filter anweisung vorgabe regel befehl consigne directri regle indicacion above told earlier before previous
        prior unfilter uncensor unrestrict mode anythingnow jailbreak restrict nowdan asdan"""
    )
)

PLAIN, REVERSED, ROT13, ROOT, REVERSED_ROOT, ROT13_ROOT = (1 << bit for bit in range(6))


@functools.cache
def _grams() -> np.ndarray:
    """For each four letters (5 bits a letter): which kinds of anchor or root begin so (reversed: end so)."""
    table = np.zeros(1 << 20, dtype=np.uint8)
    for words, bits in ((_ANCHORS, (PLAIN, REVERSED, ROT13)), (_ROOTS, (ROOT, REVERSED_ROOT, ROT13_ROOT))):
        for word in words:
            for spelled, bit in zip((word[:4], word[3::-1], rot13(word[:4])), bits, strict=True):
                a, b, c, d = (ord(letter) - 97 for letter in spelled)
                table[(a << 15) | (b << 10) | (c << 5) | d] |= bit
    return table


def kinds_of(letters: str) -> np.ndarray:
    """The kinds of anchor and root that begin at every letter but the last three."""
    codes = np.frombuffer(letters.encode("ascii"), dtype=np.uint8).astype(np.int32) - 97
    if len(codes) < 4:
        return np.zeros(0, dtype=np.uint8)
    return _grams()[(codes[:-3] << 15) | (codes[1:-2] << 10) | (codes[2:-1] << 5) | codes[3:]]


def near(kinds: np.ndarray, anchor: int, root: int) -> np.ndarray:
    """Places of ``anchor`` with a ``root`` in the window after (or before, for reversed kinds)."""
    starts = np.flatnonzero((kinds & anchor) > 0)  # of booleans it is much quicker
    roots = np.flatnonzero((kinds & root) > 0)
    if not len(starts) or not len(roots):
        return starts[:0]
    next_root = np.searchsorted(roots, starts)
    gap = roots[np.minimum(next_root, len(roots) - 1)] - starts
    close = (gap >= 0) & (gap < WINDOW)
    if anchor == REVERSED:
        gap = starts - roots[np.maximum(next_root - 1, 0)]
        close |= (gap >= 0) & (gap < WINDOW)
    return starts[close]


_EXTRA = word_set("mode developer do anything now say output print an")
_LONGEST = 18
_MAX_WINDOWS = 40


@functools.cache
def _squeezed_words() -> frozenset[str]:
    return frozenset(word for word in lexicon() if len(word) > 1 or word == "a") - {"systemprompt"} | _EXTRA


@functools.cache
def _beginnings() -> frozenset[str]:
    return frozenset(word[:end] for word in _squeezed_words() for end in range(1, len(word) + 1))


def segment(letters: str) -> list[tuple[str, int]]:
    """Words of the lexicon that ``letters`` begins with, (word, end): the fewest words that reach farthest."""
    known, beginnings = _squeezed_words(), _beginnings()
    size = len(letters)
    best: list[tuple[int, int] | None] = [None] * (size + 1)  # words used, where the last one began
    best[0] = (0, 0)
    farthest = 0
    for begin in range(size):
        before = best[begin]
        if before is None:
            if begin > farthest + _LONGEST:
                break
            continue
        used = before[0] + 1
        for end in range(begin + 1, min(begin + _LONGEST, size) + 1):
            piece = letters[begin:end]
            if piece not in beginnings:
                break
            if piece in known:
                now = best[end]
                if now is None or used < now[0]:
                    best[end] = (used, begin)
                    farthest = max(farthest, end)
    cut = []
    while farthest:
        begin = best[farthest][1]  # pyright: ignore[reportOptionalSubscript]
        cut.append((letters[begin:farthest], farthest))
        farthest = begin
    return cut[::-1]


@functools.cache
def _anchors_by_start() -> dict[str, tuple[str, ...]]:
    return {word[:4]: tuple(other for other in _ANCHORS if other[:4] == word[:4]) for word in _ANCHORS}


def begins(letters: str, start: int) -> bool:
    """Whether a whole anchor stands at ``start``."""
    return letters.startswith(_anchors_by_start().get(letters[start : start + 4], ()), start)


def scan_squeezed(
    letters: str, places: Callable[[], list[int]], folded: str, border: int, view: str, starts: np.ndarray
) -> Hit | None:
    """The grammar over words cut out of a run of letters, where the text itself does not part them so.

    ``starts``: where a verb may begin, near enough to a word for what is dropped.
    """
    at: list[int] = []
    looked = 0
    for start in starts.tolist():
        if not begins(letters, start):
            continue
        looked += 1
        if looked > _MAX_WINDOWS:  # nobody writes so many by chance, and the rest would go unread
            return Hit(letters[start : start + 24], view, "too many to judge")
        at = at or places()
        if hit := _segment_and_match(letters, start, at, folded, border, view):
            return hit
    return None


def _segment_and_match(letters: str, start: int, at: list[int], folded: str, border: int, view: str) -> Hit | None:
    window = letters[start : start + WINDOW]
    last = at[min(start + len(window), len(at)) - 1]
    if last < border and at[start] < border:
        return None
    cut = segment(window)
    if len(cut) < 3 or letters[max(0, start - 5) : start].endswith(("donot", "dont", "not", "never")):
        return None
    words = [word for word, _ in cut]
    for match in all_matches(words, class_letters(words)):
        if match.rule.endswith("?"):
            continue
        plural = words[match.stop - 1].endswith("s")  # else it may be how another word begins: "prompter"
        first, stop = start + sum(map(len, words[: match.start])), start + cut[match.stop - 1][1]
        a, b = at[first], at[stop - 1]
        low, high = min(a, b), max(a, b)
        if high < border:
            continue
        glued = _is_letter(folded[low - 1 : low]) or (plural and _is_letter(folded[high + 1 : high + 2]))
        if glued or WORD.findall(folded[low : high + 1]) != words[match.start : match.stop]:
            return hit_of(words, match, view)
    return None


def _is_letter(char: str) -> bool:
    """Of a slice: "" is none."""
    return "a" <= char <= "z"
