"""SentencePiece and Hugging Face files as users bring them: lossy ones too, over 65,536 tokens, damaged ones."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer as HF
from tokenizers import models, pre_tokenizers

from fastweights.data.corpus import open_corpus
from fastweights.data.hf_tokenizer import HFTokenizerFile
from fastweights.data.sources import find_source
from fastweights.data.spm import SPMTokenizer
from fastweights.data.tokenizer import id_dtype, load_tokenizer, open_tokenizer
from fastweights.errors import Corrupt, FastweightsError, NotFound

TEXT = find_source("tiny").train[0].path.read_text()


def plain_model() -> bytes:
    """SentencePiece's defaults: NFKC, a space in front, no byte fallback, its own bos and eos."""
    out = io.BytesIO()
    lines = iter(TEXT.splitlines()[:200])
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=lines, model_writer=out, vocab_size=200, minloglevel=2)
    return out.getvalue()


def test_training_is_deterministic_and_small_texts_give_small_vocabularies(tmp_path: Path) -> None:
    one, two = (SPMTokenizer.train([TEXT.encode()], 512) for _ in range(2))
    assert one.fingerprint() == two.fingerprint()
    assert one.vocab_size == 512
    assert len(one.encode(TEXT)) < len(TEXT) * 0.6
    assert SPMTokenizer.train([b"a b a b"], 4096).vocab_size < 300
    with pytest.raises(FastweightsError, match="spm_vocab 100: choose from 264"):
        SPMTokenizer.train([b"x"], 100)
    with pytest.raises(FastweightsError, match=r"spm_vocab 300: .*; add text"):
        SPMTokenizer.train([b"\xff"], 300)


def test_a_model_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "plain.model"
    path.write_bytes(plain_model())
    tokenizer = open_tokenizer(str(path))
    assert (tokenizer.kind, tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == ("spm", 1, 2, 200)
    ids = tokenizer.encode("the  time\n\xff")
    assert ids == sentencepiece.SentencePieceProcessor(model_proto=plain_model()).encode("the  time\n\xff")
    assert tokenizer.decode(ids) == " the time \ufffd"  # one normalised space, and an unknown character
    tokenizer.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path).fingerprint() == tokenizer.fingerprint()
    path.write_bytes(b"no model")
    with pytest.raises(Corrupt, match=r"plain\.model: not a SentencePiece model"):
        open_tokenizer(str(path))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"kind": "spm", "model": "!"}))
    with pytest.raises(Corrupt, match="not a SentencePiece tokenizer"):
        load_tokenizer(tmp_path)


def test_a_hugging_face_file_of_words(tmp_path: Path) -> None:
    hf = HF(models.WordLevel({"[UNK]": 0, "the": 1, "time": 2, "<s>": 3, "</s>": 4}, unk_token="[UNK]"))
    hf.pre_tokenizer = pre_tokenizers.Whitespace()
    hf.add_special_tokens(["<s>", "</s>"])
    hf.save(str(tmp_path / "tokenizer.json"))
    for name in (f"hf:{tmp_path}", f"hf:{tmp_path}/tokenizer.json"):
        tokenizer = open_tokenizer(name)
        assert (tokenizer.kind, tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == ("hf", 3, 4, 5)
        assert tokenizer.encode_bytes(b"the time \xff") == [1, 2, 0]
        assert tokenizer.decode([1, 2]) == " the time"
        assert not {3, 4} & set(tokenizer.encode("the <s> time </s>"))
    with pytest.raises(Corrupt, match="was it saved by fastweights"):
        load_tokenizer(tmp_path)


def test_more_than_65536_tokens_take_32_bits(tmp_path: Path) -> None:
    vocab = {"[UNK]": 0} | {f"w{i}": i + 1 for i in range(70_000)}
    hf = HF(models.WordLevel(vocab, unk_token="[UNK]"))
    hf.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = HFTokenizerFile(hf)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (70_001, 70_002, 70_003)
    assert tokenizer.encode_array(b"w5").dtype == id_dtype(70_003) == np.uint32
    assert id_dtype(65_536) == np.uint16
    (tmp_path / "a.txt").write_text("w69999 w1 " * 50)
    corpus = open_corpus(str(tmp_path / "a.txt"), tokenizer, tmp_path / "cache", val_fraction=0.5)
    assert corpus.train.dtype == np.uint32
    assert corpus.train[:3].tolist() == [70_001, 70_000, 2]
    assert corpus.val[-1] == 70_002


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"hf:.*does not exist; give a folder or a tokenizer\.json"):
        open_tokenizer(f"hf:{tmp_path}")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(Corrupt, match="tokenizer hf:"):
        open_tokenizer(f"hf:{tmp_path}")
    with pytest.raises(NotFound, match=r"x\.model does not exist"):
        open_tokenizer(str(tmp_path / "x.model"))
