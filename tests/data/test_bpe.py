"""What is particular to BPE: training, its file, and blocks that are cut where it makes no difference."""

import io
import json
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.data.bpe import BPETokenizer, blocks, cut
from fastweights.data.tokenizer import load_tokenizer
from fastweights.errors import Corrupt, FastweightsError, NotFound

TINY = (resources.files("fastweights.data") / "assets" / "tiny.txt").read_bytes()


@pytest.fixture(scope="module")
def bpe() -> BPETokenizer:
    return BPETokenizer.train([TINY], 1024)


def test_it_compresses(bpe: BPETokenizer) -> None:
    assert bpe.vocab_size == 1024
    assert len(TINY) / len(bpe.encode_bytes(TINY)) > 2.5


def test_retraining_gives_the_same_tokenizer(bpe: BPETokenizer) -> None:
    assert BPETokenizer.train([TINY], 1024).fingerprint() == bpe.fingerprint()


def test_words_keep_the_space_before_them_and_newlines_stand_apart(bpe: BPETokenizer) -> None:
    ids = bpe.encode("  love, and\n\nAnd")
    assert [bpe.decode([i]) for i in ids] == [" ", " love", ",", " and", "\n\n", "And"]


@pytest.mark.parametrize("size", [0, 257, 65537])
def test_a_vocabulary_out_of_range(size: int) -> None:
    with pytest.raises(FastweightsError, match=f"vocabulary {size}: choose from 258 to 65536"):
        BPETokenizer.train([TINY], size)


# ---------------------------------------------------------------- blocks

texts = st.text(alphabet="ab1. \n\t\xe9", max_size=300).map(str.encode)


@given(data=texts, limit=st.integers(1, 50), length=st.none() | st.integers(0, 300))
def test_blocks_are_the_bytes_in_order(data: bytes, limit: int, length: int | None) -> None:
    found = list(blocks(io.BytesIO(data), length, limit))
    assert b"".join(found) == data[:length]
    assert all(0 < len(block) <= limit for block in found)


@given(data=texts, limit=st.integers(20, 60), more=st.binary(max_size=40))
def test_a_cut_looks_no_further_than_its_block(data: bytes, limit: int, more: bytes) -> None:
    if len(data) > limit:
        assert cut(data, limit) == cut(data + more, limit)


words = st.sampled_from(["ab", "a", "b1", "11", "...", "abab", "\xff"])
gaps = st.sampled_from([" ", "\n", ". ", "\n\n", " \n", "  ", "\t", "\t\t", "\r\n"])


@given(pairs=st.lists(st.tuples(words, gaps), max_size=60), limit=st.integers(12, 30))
def test_blocks_encode_like_the_whole(pairs: list[tuple[str, str]], limit: int) -> None:
    """With room for a word or two in a block there is always a safe place to cut."""
    bpe = BPETokenizer.train([b"ab ab a1 b. .. 11 \n\n ab\n  ab \n" * 9], 300)
    data = "".join(word + gap for word, gap in pairs).encode()
    assert [i for b in blocks(io.BytesIO(data), None, limit) for i in bpe.encode_bytes(b)] == bpe.encode_bytes(data)


def test_a_stream_that_returns_little_at_a_time() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    assert list(blocks(Slow(TINY), None, 4096)) == list(blocks(io.BytesIO(TINY), None, 4096))


# ---------------------------------------------------------------- files


def test_a_missing_file_names_the_near_miss(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(NotFound, match=r"tokeniser\.json does not exist; did you mean 'tokenizer\.json'"):
        load_tokenizer(tmp_path / "tokeniser.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("[]", "kind is None"),
        ('{"kind": "spm"}', "not a SentencePiece tokenizer"),
        ('{"kind": "words"}', "kind is 'words', not one of byte, bpe"),
        ('{"kind": "bpe"}', "not a BPE tokenizer"),
        ('{"kind": "bpe", "hf": {"version": "1.0"}}', "not a BPE tokenizer"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(Corrupt, match=message) as info:
        load_tokenizer(path)
    assert str(path) in str(info.value)
    assert "\n" not in str(info.value)


def test_a_truncated_file(bpe: BPETokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Corrupt, match="not JSON"):
        load_tokenizer(path)


def test_a_file_that_lost_a_byte(bpe: BPETokenizer, tmp_path: Path) -> None:
    """Without a token for each byte the exact round trip would be a promise broken later."""
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    data = json.loads(path.read_text())
    vocab = data["hf"]["model"]["vocab"]
    vocab["zzzz"] = vocab.pop("Ą")  # byte 4
    path.write_text(json.dumps(data))
    with pytest.raises(Corrupt, match="not every byte has a token"):
        load_tokenizer(path)


def test_a_file_with_a_vocabulary_over_16_bits(bpe: BPETokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    data = json.loads(path.read_text())
    vocab = data["hf"]["model"]["vocab"]
    vocab |= {f"word{i}": i for i in range(len(vocab), 65_535)}
    path.write_text(json.dumps(data))
    with pytest.raises(FastweightsError, match=r"vocabulary of 65537 is over 65536, since ids are stored in 16 bits"):
        load_tokenizer(path)
