import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.guard.normalize import MAX_CHARACTERS, fold
from fastweights.guard.views import decoded, leet, rot13, squeeze


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
    start = time.process_time()
    assert fold(text) == "a"
    assert time.process_time() - start < 0.1


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
        assert any(text[8:] in run.text for run in decoded(f"see: {raw} end"))
    assert any(run.text == text for run in decoded(text.encode().hex()))
    twice = base64.b64encode(coded.encode()).decode()
    assert not any(text in run.text for run in decoded(twice))
