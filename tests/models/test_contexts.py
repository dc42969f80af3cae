"""Words as a memory sees them: by their bytes in any case, however tokens cut them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastweights.models.memory.contexts import Words

PIECES = [bytes([b]) for b in range(256)]
LONGER = [*PIECES, b"the", b" th", b"Th", b"E", b"ir", b"re", b". re"]  # none ends a word that it holds a part of


def read(words: Words, tokens: list[int]) -> list[int]:
    """Of this word, the last one, and this one's length, after all tokens."""
    return words.hashes(np.array([tokens]), np.zeros((1, 3), np.uint64))[0, -1].tolist()


@given(st.lists(st.sampled_from(range(len(LONGER))), min_size=1, max_size=12))
def test_how_tokens_cut_a_word_does_not_matter(tokens: list[int]) -> None:
    text = b"".join(LONGER[token] for token in tokens)
    assert read(Words(LONGER), tokens) == read(Words(PIECES), list(text))


def test_case_does_not_matter() -> None:
    words = Words(LONGER)
    assert read(words, list(b"SHALL ")) == read(words, list(b"shall "))
    assert read(words, [LONGER.index(b"Th"), LONGER.index(b"E")]) == read(words, [LONGER.index(b"the")])
