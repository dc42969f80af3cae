"""One suite over every tokenizer: any bytes come back, ids stay in range, a saved one equals the one that was saved."""

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastweights.data.bpe import BPETokenizer
from fastweights.data.tokenizer import ByteTokenizer, StreamDecoder, Tokenizer, load_tokenizer
from fastweights.errors import FastweightsError


@cache
def tiny() -> bytes:
    return (resources.files("fastweights.data") / "assets" / "tiny.txt").read_bytes()


@cache
def make(name: str) -> Tokenizer:
    if name == "byte":
        return ByteTokenizer()
    if name == "bpe":
        return BPETokenizer.train([tiny()], 1024)
    if name == "bpe-smallest":  # no merges at all
        return BPETokenizer.train([], 258)
    return BPETokenizer.train([bytes(range(256)) * 20, b"\0\0\0\0" * 99, "naïve – 文字".encode() * 50], 400)


NAMES = ("byte", "bpe", "bpe-smallest", "bpe-odd")
every = pytest.mark.parametrize("name", NAMES)


@every
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=bytes(range(256)))
@example(data=b"  \n\n  a  b\r\n\tc\xff\xfe\x00 \xe2\x80")
def test_any_bytes_come_back(name: str, data: bytes) -> None:
    tokenizer = make(name)
    ids = tokenizer.encode_bytes(data)
    assert tokenizer.decode_bytes(ids) == data
    array = tokenizer.encode_array(data)
    assert array.dtype == np.uint16
    assert array.tolist() == ids
    assert all(0 <= i < tokenizer.vocab_size and i not in (tokenizer.bos_id, tokenizer.eos_id) for i in ids)


@every
@given(text=st.text(max_size=100))
@example(text="<bos><eos><unk>[UNK]")
def test_any_text_comes_back(name: str, text: str) -> None:
    tokenizer = make(name)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@every
def test_a_lone_surrogate_is_read_too(name: str) -> None:
    tokenizer = make(name)
    assert tokenizer.decode_bytes(tokenizer.encode("a\ud800b")) == b"a\xed\xa0\x80b"


@every
@given(text=st.text(max_size=40))
def test_stream_decoder_never_shows_half_a_character(name: str, text: str) -> None:
    tokenizer = make(name)
    decoder = StreamDecoder(tokenizer)
    shown = [decoder.push(i) for i in [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]]
    assert "".join(shown) + decoder.flush() == text
    at = 0
    for piece in shown:  # each piece is text as it stands, so nothing shown is ever taken back
        assert text.startswith(piece, at)
        at += len(piece)


@every
def test_stream_decoder_flushes_an_unfinished_character(name: str) -> None:
    decoder = StreamDecoder(make(name))
    assert [decoder.push(i) for i in make(name).encode_bytes(b"\xe2\x80")][-1] == ""
    assert decoder.flush() == "\ufffd"


@every
def test_specials_are_the_last_two_ids_and_decode_to_nothing(name: str) -> None:
    tokenizer = make(name)
    assert (tokenizer.bos_id, tokenizer.eos_id) == (tokenizer.vocab_size - 2, tokenizer.vocab_size - 1)
    assert tokenizer.decode_bytes([tokenizer.bos_id, *tokenizer.encode("x"), tokenizer.eos_id]) == b"x"


@every
@pytest.mark.parametrize("bad", [-1, None])
def test_an_id_outside_of_the_vocabulary_is_named(name: str, bad: int | None) -> None:
    tokenizer = make(name)
    token = tokenizer.vocab_size if bad is None else bad
    with pytest.raises(FastweightsError, match=f"token id {token} is outside"):
        tokenizer.decode_bytes([0, token])


@every
def test_saved_equals_loaded(name: str, tmp_path: Path) -> None:
    tokenizer = make(name)
    tokenizer.save(tmp_path / "tokenizer.json")
    for path in (tmp_path / "tokenizer.json", tmp_path):
        loaded = load_tokenizer(path)
        assert isinstance(loaded, Tokenizer)
        assert (loaded.kind, loaded.vocab_size) == (tokenizer.kind, tokenizer.vocab_size)
        assert loaded.fingerprint() == tokenizer.fingerprint()
        assert loaded.encode_bytes(tiny()[:5000]) == tokenizer.encode_bytes(tiny()[:5000])
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_fingerprints_tell_tokenizers_apart() -> None:
    assert len({make(name).fingerprint() for name in NAMES}) == len(NAMES)


@every
@settings(max_examples=20)
@given(data=st.binary(min_size=1, max_size=60), times=st.integers(1, 400))
def test_long_repetitions(name: str, data: bytes, times: int) -> None:
    tokenizer = make(name)
    assert tokenizer.decode_bytes(tokenizer.encode_bytes(data * times)) == data * times
