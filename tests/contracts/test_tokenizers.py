"""One suite over every tokenizer: any bytes come back, ids stay in range, a saved one equals the one that was saved."""

import io
import string
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HF
from tokenizers import models, normalizers, pre_tokenizers, trainers

from fastweights.data.bpe import CHARS, BPETokenizer
from fastweights.data.hf_tokenizer import HFTokenizerFile
from fastweights.data.spm import SPMTokenizer
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
    if name == "spm":
        return SPMTokenizer.train([tiny()], 600)
    if name == "spm-prefix":  # as Llama's: a space before every text
        exact = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
        return SPMTokenizer(own_spm(byte_fallback=True, vocab_size=500, **exact))
    if name == "hf-bytes":
        return HFTokenizerFile(byte_level())
    if name == "hf-fallback":
        return HFTokenizerFile(llama_like())
    return BPETokenizer.train([bytes(range(256)) * 20, b"\0\0\0\0" * 99, "naïve – 文字".encode() * 50], 400)


def own_spm(**options: Any) -> bytes:
    """What a user trains with SentencePiece's own defaults and ``options``."""
    out = io.BytesIO()
    lines = iter(tiny().decode().splitlines()[:300])
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=out, minloglevel=2, **options)
    return out.getvalue()


def byte_level() -> HF:
    """As GPT-2's, with one special for both ends."""
    hf = HF(models.BPE())
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=CHARS, special_tokens=["<|endoftext|>"], show_progress=False
    )
    hf.train_from_iterator([tiny().decode()[:20000]], trainer)
    return hf


def llama_like() -> HF:
    """As Llama 2's: byte fallback, a space before every text, template that adds a bos."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{b:02X}>": b + 3 for b in range(256)}
    vocab |= {piece: len(vocab) + i for i, piece in enumerate(["\u2581", *string.ascii_lowercase, "th", "\u2581th"])}
    hf = HF(models.BPE(vocab, [("t", "h"), ("\u2581", "th")], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    hf.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    hf.add_special_tokens(["<unk>", "<s>", "</s>"])
    return hf


NAMES = ("byte", "bpe", "bpe-smallest", "bpe-odd", "spm", "spm-prefix", "hf-bytes", "hf-fallback")
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
@example(text="<bos><eos><unk>[UNK]<s></s><|endoftext|>")
@example(text="\u2581 \u2581x<0x41>")
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
def test_specials_are_two_ids_that_decode_to_nothing(name: str) -> None:
    tokenizer = make(name)
    assert tokenizer.bos_id != tokenizer.eos_id
    assert 0 <= min(tokenizer.bos_id, tokenizer.eos_id) < max(tokenizer.bos_id, tokenizer.eos_id) < tokenizer.vocab_size
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
