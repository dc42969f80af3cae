import base64
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.guard.decoded import decoded
from fastweights.guard.normalize import MAX_CHARACTERS, fold
from fastweights.guard.sentences import with_sentences
from fastweights.guard.tokens import NEW_SENTENCE
from fastweights.guard.views import leet, rot13, squeeze


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("Ｉｇｎｏｒｅ", "ignore"),
        ("𝕚𝗴𝓷𝔬𝓇𝐞 ⓐⓛⓛ", "ignore all"),
        ("іgnоrе рrеvіоus", "ignore previous"),
        ("i\u200bg\u200dn\ufeffo\u00adr\u202ee", "ignore"),
        ("ıɢɴᴏʀᴇ", "ignore"),
        ("ĩg̷ñö̈re", "ignore"),
        ("ﬁlter ŒUVRE Straße", "filter oeuvre strasse"),
        ("🅸🅶🅽🅾🆁🅴", "ignore"),
        ("\N{NO-BREAK SPACE}“x” — ‘y’", " \"x\" - 'y'"),
        ("".join(chr(0xE0000 + ord(c)) for c in "ignore"), "ignore"),
        ("你好 мир", "你好 mnp"),
    ],
)
def test_fold(written: str, seen: str) -> None:
    assert fold(written) == seen


@given(st.text(st.characters(codec=None), max_size=200))
def test_fold_takes_anything_and_is_stable(text: str) -> None:
    once = fold(text)
    assert fold(once) == once or not once.isascii()
    assert len(squeeze(once).letters) == len(squeeze(once).at)


def test_fold_is_capped_to_the_end() -> None:
    assert fold("a" * MAX_CHARACTERS + "END") == "a" * (MAX_CHARACTERS - 3) + "end"


def test_combining_marks_cost_linear_time() -> None:
    fold("é")
    text = "a" + "\u0301\u0316" * (MAX_CHARACTERS // 2 - 1)
    times = []
    for _ in range(3):
        start = time.process_time()
        assert fold(text) == "a"
        times.append(time.process_time() - start)
    assert min(times) < 0.1  # about 1 ms


def test_views() -> None:
    assert leet("1gn0r3 a11")[0] == "ignore aii"
    assert leet("1gn0r3 a11")[1] == "lgnore all"
    assert rot13("vtaber") == "ignore"
    assert squeeze("i-g n.o").letters == "igno"


def test_decodes_base64_and_hex_once() -> None:
    rng = random.Random(3)
    import base64

    text = "meet me behind the old mill at nine"
    coded = base64.b64encode(text.encode()).decode()
    for raw in (coded, " ".join(coded[i : i + 16] for i in range(0, len(coded), 16)), coded[rng.randrange(1, 4) :]):
        assert any(text[8:] in passages for passages in decoded(f"see: {raw} end"))
    assert any(text in passages for passages in decoded(text.encode().hex()))
    twice = base64.b64encode(coded.encode()).decode()
    assert not any(text in passages for passages in decoded(twice))


def test_decoded_passages_behind_decoys_and_marks() -> None:
    rng = random.Random(5)
    text = "une tasse de thé, and 𝐢𝐠𝐧𝐨𝐫𝐞 it"
    coded, hexed = base64.b64encode(text.encode()).decode(), text.encode().hex()
    decoys = [base64.b64encode(rng.randbytes(18)).decode() for _ in range(300)]
    for raw in (
        *(f"{between.join(decoys)}{between}{coded}{between}{decoys[0]}" for between in (" ", " of ", "\n", '", "')),
        " and ".join([*(rng.randbytes(12).hex() for _ in range(300)), hexed]),
        *("".join(f"{mark}{byte:02x}" for byte in text.encode()) for mark in ("\\x", "%", ", 0x", ":")),
    ):
        assert any(text in passages for passages in decoded(raw)), raw[:80]
    assert not any(text in passages for passages in decoded(f"{coded} and tea", len(coded)))
    for odd in ("", "=" * 99, "a1" * 7, "A1==" * 40, "0x" * 99, "\x00" * 20, "A" * 15 + "1"):
        assert not any("é" in passages for passages in decoded(odd))


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("a small Word", "a small |Word"),
        ("Two Names here", "Two Names here"),
        ("tea,\n \tThen\nmore", "tea,\n \t|Then\nmore"),
        ("\nA line", "\n|A line"),
        ("don't, Never 1 A", "don't, |Never 1 A"),
        ("это The тест Тест", "это The тест Тест"),
        ("say: Now. Then", "say: Now. Then"),
        ("", ""),
    ],
)
def test_sentences_that_begin_with_a_capital(text: str, marked: str) -> None:
    assert with_sentences(text).replace(NEW_SENTENCE, "|") == marked
