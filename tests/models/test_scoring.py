"""Scores: streamed equals read whole, however the ids come; documents start afresh; specials do not count."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fastweights.data.tokenizer import ByteTokenizer
from fastweights.models.scoring import Cancelled, Score, cold_score, corpus_score, stream_score
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig

BYTE = ByteTokenizer()
BOS, EOS = BYTE.bos_id, BYTE.eos_id


@pytest.fixture(scope="module", params=["ssm", "gru"])
def model(request: pytest.FixtureRequest) -> TinyLM:
    torch.manual_seed(0)
    config = TinyLMConfig(vocab_size=258, dim=16, layers=2, backbone=request.param, ngram_orders=(2,), ngram_rows=256)
    model = TinyLM(config).eval()
    for p in model.parameters():  # the head starts at zero: then every figure would be log(258)
        torch.nn.init.normal_(p, std=0.3)
    return model


@pytest.fixture
def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, 500).astype(np.uint16)


def whole(model: TinyLM, ids: np.ndarray) -> float:
    """The definition: one pass over bos and all ids."""
    y_T = torch.from_numpy(ids.astype(np.int64))
    x_T = torch.cat([torch.tensor([BOS]), y_T[:-1]])
    with torch.no_grad():
        logits_BTV, _ = model(x_T[None])
    return float(F.cross_entropy(logits_BTV[0], y_T, reduction="sum"))


@pytest.mark.parametrize("window", [1, 7, 64, 1000])
def test_streamed_equals_read_whole(model: TinyLM, ids: np.ndarray, window: int) -> None:
    score = stream_score(model, [ids], BOS, window=window)
    assert score.tokens == 500
    assert score.nats == pytest.approx(whole(model, ids), rel=1e-5)


def test_pieces_do_not_matter(model: TinyLM, ids: np.ndarray) -> None:
    at_once = stream_score(model, [ids], BOS, window=64)
    assert stream_score(model, np.split(ids, [1, 2, 99, 99, 300]), BOS, window=64) == at_once
    cold = cold_score(model, [ids], BOS, window=13, batch=4)
    assert cold_score(model, np.split(ids, [5, 77]), BOS, window=13, batch=4) == cold


def test_cold_windows_know_nothing_of_each_other(model: TinyLM, ids: np.ndarray) -> None:
    score = cold_score(model, [ids], BOS, window=13, batch=4)
    assert score.tokens == 500
    assert score.nats == pytest.approx(sum(whole(model, ids[i : i + 13]) for i in range(0, 500, 13)), rel=1e-5)


def test_documents_of_a_corpus_start_afresh_and_specials_do_not_count(model: TinyLM) -> None:
    one, two = b"the first document", b"and another"
    ids = np.array([BOS, *one, EOS, BOS, *two, EOS], dtype=np.uint16)
    score, n_bytes = corpus_score(model, ids, BYTE)
    assert n_bytes == score.tokens == len(one) + len(two)
    parts = [whole(model, np.frombuffer(text, np.uint8)) for text in (one, two)]
    assert score.nats == pytest.approx(sum(parts), rel=1e-5)
    capped, n_capped = corpus_score(model, ids, BYTE, limit=5)
    assert n_capped == capped.tokens == 5
    assert capped.nats == pytest.approx(whole(model, np.frombuffer(one[:5], np.uint8)), rel=1e-5)


def test_it_can_be_cancelled(model: TinyLM, ids: np.ndarray) -> None:
    asked: list[int] = []

    def after_two() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        stream_score(model, [ids], BOS, window=10, cancelled=after_two)
    assert len(asked) == 3


def test_bits_per_byte() -> None:
    assert Score(nats=8 * math.log(2), tokens=3).bits_per_byte(4) == pytest.approx(2.0)
