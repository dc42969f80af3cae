import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.guard.gate_policy import default_gate
from fastweights.guard.judge import judge
from fastweights.guard.signals import measure
from tests.guard.chunking import CHUNKERS, benign_texts

WORD = default_gate("word")


def test_small_chunks_are_never_called_repetitive_or_blobs() -> None:
    text = "The ferry left the harbour a little after seven, with the usual crowd of students and cooks."
    for size in range(1, 9):
        for chunk, tail, ids in CHUNKERS["word"](text, size):
            assert all(finding.ok for finding in judge(chunk, WORD, tail, ids).values())
            assert all(finding.ok for finding in judge(chunk, WORD, "", ids).values())


@pytest.mark.parametrize("period", [1, 2, 5, 13, 27, 40])
@pytest.mark.parametrize(("kind", "size"), [("word", 32), ("byte", 64)])
def test_cycles_are_seen_with_the_look_back(period: int, kind: str, size: int) -> None:
    rng = random.Random(period)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(period)]
    chunks = list(CHUNKERS[kind](" ".join(words * (300 // period + 3)), size))
    refused = [not judge(*_args(c, kind))["repetition"].ok for c in chunks]
    assert sum(refused) > len(refused) // 2


def _args(chunk: tuple, kind: str) -> tuple:
    text, tail, ids = chunk
    return text, default_gate("word" if kind == "word" else "byte"), tail, ids


def test_rulers_indents_and_camel_case_are_natural() -> None:
    text = "Title\n" + "=" * 70 + "\n\n" + " " * 40 + "getElementById XMLHttpRequest IdleUserConfParser " + "-" * 120
    signals = measure(text, "", list(range(20)))
    assert signals.blob is None or signals.blob.value == 0.0
    assert judge(text, WORD, "", [1] * 128)["repetition"].ok
    endless = measure("-" * 4000)
    assert endless.cycle is not None
    assert endless.cycle.value > 0.99


def test_benign_kinds() -> None:
    for kind, sizes in (("word", (32, 128)), ("byte", (64, 128))):
        for size in sizes:
            counts: dict[str, list[bool]] = {}
            for name, text in benign_texts(12_000):
                for chunk in CHUNKERS[kind](text, size):
                    verdicts = judge(*_args(chunk, kind)).values()
                    counts.setdefault(name, []).append(any(not finding.ok for finding in verdicts))
            for name, refused in counts.items():
                assert sum(refused) <= max(1, 0.01 * len(refused)), (kind, size, name, sum(refused), len(refused))


@given(
    st.text(st.characters(codec=None), max_size=300), st.text(max_size=50), st.lists(st.integers(0, 300), max_size=40)
)
def test_any_text_gets_a_verdict(text: str, tail: str, ids: list[int]) -> None:
    for finding in judge(text, WORD, tail, ids).values():
        assert finding.ok == (not finding.reasons)
        assert all(number is None or number == number for number in finding.numbers.values())


@pytest.mark.parametrize(
    "text",
    [
        "f3" * 50_000,
        "你好世界" * 200,
        bytes(range(256)).decode("utf-8", "replace") * 20,
        "",
        "x",
        " ",
        "\ud800" * 40,
        "\u0301" * 5000,
    ],
)
def test_odd_inputs(text: str) -> None:
    assert set(judge(text, WORD, "", [1])) == {"entropy", "diversity", "repetition", "blob", "override"}
    assert set(judge(text, WORD, text, [])) == {"entropy", "diversity", "repetition", "blob", "override"}


def test_a_table_of_check_marks_is_natural() -> None:
    rows = "".join(
        f"| {name} | ✔ | - | ✔ | - | {note} | ✔ | - |\n"
        for name, note in zip(("Brace matching", "Extglobs", "Classes", "Ranges", "Dots"), "abcde", strict=True)
    )
    table = "| Feature | a | b | c | d | e | f | g |\n|" + " --- |" * 8 + "\n" + rows
    for size in (32, 128):
        for text, tail, ids in CHUNKERS["word"](table, size):
            assert all(finding.ok for finding in judge(text, WORD, tail, ids).values())
    endless = list(CHUNKERS["word"]("| - " * 400, 32))
    refused = [not all(f.ok for f in judge(text, WORD, tail, ids).values()) for text, tail, ids in endless]
    assert sum(refused) > 0.9 * len(refused)


@pytest.mark.parametrize("disguise", ["case", "signs", "order"])
@pytest.mark.parametrize("period", [3, 7, 12])
def test_cycles_in_other_case_punctuation_or_order_are_seen(period: int, disguise: str) -> None:
    rng = random.Random(period)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(3, 8))) for _ in range(period)]
    told: list[str] = []
    for _ in range(400 // period):
        told += rng.sample(words, period) if disguise == "order" else words
    if disguise == "case":
        told = [rng.choice((str.lower, str.upper, str.title))(word) for word in told]
    if disguise == "signs":
        told = [word + rng.choice((",", ".", ";", "")) for word in told]
    for size in (32, 128):
        chunks = list(CHUNKERS["word"](" ".join(told), size))
        refused = [not judge(text, WORD, tail, ids)["repetition"].ok for text, tail, ids in chunks]
        assert sum(refused) > 0.6 * len(refused)
