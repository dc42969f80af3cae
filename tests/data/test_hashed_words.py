"""The toy model's tokens: the ids of record, and the same tokens however a stream is cut."""

from hypothesis import given
from hypothesis import strategies as st

from fastweights.data.hashed_words import MASK, MAX_WORD, VOCAB, stream_words, word_id, words


def test_ids_of_record() -> None:
    assert [word_id(w) for w in ("the", "The", ".", "日本")] == [6750, 2078, 7664, 5096]
    assert VOCAB == MASK + 1 == 8192


def test_words_and_marks() -> None:
    assert words("Don't stop_now, 3.5!") == ["Don", "'", "t", "stop_now", ",", "3", ".", "5", "!"]
    assert words(" \n\t") == []
    assert [len(w) for w in words("a" * 100)] == [32, 32, 32, 4]
    assert len(words("漢" * 800)) == 25


@given(st.text(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_cutting_a_stream_changes_nothing(text: str, cuts: list[int]) -> None:
    at = sorted({min(c, len(text)) for c in cuts})
    pieces = [text[i:j] for i, j in zip([0, *at], [*at, len(text)], strict=True)]
    pairs = list(stream_words(pieces))
    assert [token for token, _ in pairs] == words(text)
    assert "".join(source for _, source in pairs) == text[: len("".join(s for _, s in pairs))]


@given(st.integers(1, 150), st.integers(1, 70))
def test_long_runs_are_cut_on_one_grid(length: int, size: int) -> None:
    run = "ab" * length
    pieces = [run[i : i + size] for i in range(0, len(run), size)]
    assert [t for t, _ in stream_words(pieces)] == words(run)
    assert max(map(len, words(run))) <= MAX_WORD
