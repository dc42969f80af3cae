"""Where sentences begin by their capitals alone, marked before case is folded away. Torch-free, linear time."""

import functools

import numpy as np

from fastweights.guard.tokens import NEW_SENTENCE, counts_before, runs_of

_TABLE_SIZE = 0x10000
_PRONOUNS = (
    "I",
    "We",
    "He",
    "She",
    "They",
    "You",
    "It",
    "Who",
    "Er",
    "Sie",
    "Wir",
    "Ich",
    "Nobody",
    "Everyone",
    "Someone",
)
_CAPITALS = (*range(65, 91), *range(0x391, 0x3AA), *range(0x410, 0x430), *map(ord, "ЁЅІЈ"), *range(0xFF21, 0xFF3B))


def with_sentences(text: str) -> str:
    """The text with a mark before each capital after a small word or a pronoun, or that begins a line."""
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
        kinds = _kinds()[:128][codes]
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        kinds = _kinds()[np.minimum(codes, _TABLE_SIZE - 1)]
    blank = (kinds & 4) > 0
    capital = (kinds & 1) > 0
    capital[1:] &= blank[:-1]
    if not capital[1:].any():
        return text
    starts, ends = runs_of((kinds & 2) > 0)
    here = np.flatnonzero(capital[starts])  # words with such a capital
    low, high = np.where(here > 0, ends[here - 1], 0), starts[here]
    low = low + ((kinds[low] & 64) > 0)
    comma = (kinds[low] & 16) > 0
    blanks, lines = counts_before(blank), counts_before(kinds & 8)
    line = np.maximum.accumulate(np.where((kinds & 8) > 0, np.arange(len(kinds)), -1))[high - 1]  # the last line break
    begins_line = (line >= low) & (blanks[high] - blanks[np.maximum(line, 0)] == high - line)
    is_small, first = (kinds[starts] & 32) > 0, np.maximum(here - 2, 0)
    gap = starts[here - 1] - ends[first]
    titled = (here > 1) & ~is_small[first] & (blanks[starts[here - 1]] - blanks[ends[first]] == gap)
    small = (here > 0) & (is_small[here - 1] | (_pronouns(codes, starts[here - 1], low) & ~titled))
    after_small = small & (lines[high] == lines[low]) & (blanks[high] - blanks[low] == high - low - comma)
    marked = np.insert(codes, high[begins_line | after_small], ord(NEW_SENTENCE))
    return marked.tobytes().decode("ascii" if text.isascii() else "utf-32-le", "surrogatepass")


def _pronouns(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Which of the words ``codes[starts:ends]`` are pronouns with a capital: no name begins so."""
    found = np.zeros(len(starts), dtype=bool)
    size = ends - starts
    for word in _PRONOUNS:
        at = np.flatnonzero(size == len(word))
        for i, letter in enumerate(word):
            at = at[codes[starts[at] + i] == ord(letter)]
        found[at] = True
    return found


@functools.cache
def _kinds() -> np.ndarray:
    """Code point -> 1 capital, 2 in a word, 4 blank, 8 line break, 16 comma, 32 small letter, 64 apostrophe."""
    table = np.zeros(_TABLE_SIZE, dtype=np.uint8)
    table[128:] = 2
    table[[*range(48, 58), *range(65, 91), *range(97, 123), ord("_")]] = 2
    table[0x2019] = 0
    for characters, bit in (
        (_CAPITALS, 1),
        (b" \t\n", 4),
        (b"\n", 8),
        (b",", 16),
        (range(97, 123), 32),
        (map(ord, "'’"), 64),
    ):
        table[[*characters]] |= bit
    return table
