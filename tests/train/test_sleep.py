"""Sleep's lessons, the choice of rows, and the bound that core text sets."""

import numpy as np
import pytest
import torch

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import SGD
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.errors import FastweightsError
from fastweights.guard.guard import Guard
from fastweights.guard.policy import Policy
from fastweights.layers.ngram import NGramEmbedding
from fastweights.models.slow_weights import ManySteps, SlowWeights
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.train.sleep import GUARD_EVERY, ROWS, Lessons, Trace, length_of_rows, train
from fastweights.train.sleep_learn import CoreBound, CoreText, with_weights
from fastweights.train.sleep_rows import OFTEN, choose_rows, new_table

TOKENS = ByteTokenizer()


def trace(text: str, taught: bool = False) -> Trace:
    ids = torch.tensor(TOKENS.encode(text))
    table = torch.zeros(len(ids), TOKENS.vocab_size).log_softmax(-1).half() if taught else None
    return Trace("s1", TOKENS.bos_id, ids, torch.ones(len(ids), dtype=torch.bool), table)


def core(size: int = 400) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size).astype(np.uint16)


def test_every_window_of_a_trace_comes_before_any_comes_again() -> None:
    traces = [trace("abcdefgh" * 5), trace("short")]
    lessons = Lessons(traces, core(), seq_len=8, core_ratio=0.5, seed=0)
    assert (lessons.n_core, len(lessons.windows)) == (6, 6)
    first = lessons.next()
    assert first.tokens_NT.shape == (ROWS, 8)
    assert first.taught_NTV is None
    padded = ~first.mask_NT.all(1)
    assert int(padded.sum()) == 1  # the short one
    assert int(first.mask_NT[padded].sum()) == 5
    again = Lessons(traces, core(), seq_len=8, core_ratio=0.5, seed=0).next()
    assert torch.equal(first.tokens_NT, again.tokens_NT)


def test_what_a_row_is_taught_is_of_its_own_places() -> None:
    one = trace("0123456789", taught=True)
    assert one.taught_TV is not None
    for at in range(10):
        one.taught_TV[at] = float(at)
    lesson = Lessons([one], core(), seq_len=4, core_ratio=0.5, seed=1).next()
    assert lesson.taught_NTV is not None
    digits = lesson.targets_NT[: len(lesson.taught_NTV)] - ord("0")
    assert torch.equal(lesson.taught_NTV[..., 0], digits.float())


def test_sequences_are_as_long_as_what_there_is_and_what_was_asked_for_must_be_there() -> None:
    one, two = [trace("a" * 40)], [trace("a" * 40), trace("b" * 40)]
    assert [length_of_rows(None, traces, core()) for traces in (one, two, two * 9)] == [39, 79, 128]
    assert length_of_rows(None, two, core(50)) == 49
    assert length_of_rows(None, [trace("Hi.")], core()) == 8  # padded
    assert length_of_rows(64, two, core()) == 64
    with pytest.raises(FastweightsError, match="seq_len 64: the sessions hold 40 tokens"):
        length_of_rows(64, one, core())
    with pytest.raises(FastweightsError, match="seq_len 32: the core text has 30 tokens"):
        length_of_rows(32, one, core(30))
    with pytest.raises(FastweightsError, match="the core text has 10 tokens"):
        length_of_rows(None, one, core(10))


def test_rows_are_chosen_by_gain_for_each_read_of_core_text() -> None:
    table = NGramEmbedding((2,), 1 << 12, 4, 8)
    traces = [trace("xyxyzq")]
    gain = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.5, 0.001])
    often = np.array([ord(c) for c in "xy" * OFTEN + "z"], np.uint16)
    rows = table.rows(traces[0].tokens_T[None], table.init_carry(1))[0][0, :, 0]
    none = choose_rows(table, traces, [gain], often, 0.0)
    assert none.rows_K[none.group_K == 0].tolist() == [int(rows[1])]  # x at the start: core text never reads that
    assert none.rows_K[none.group_K == 1].tolist() == [int(rows[2])]  # xy: core text teaches it
    everything = choose_rows(table, traces, [gain], often, 2.0)
    assert set(everything.rows_K[everything.group_K == 0].tolist()) == set(rows[1:4].tolist())
    assert everything.wanted == 3


def test_a_new_table_reaches_back_by_bytes() -> None:
    assert new_table(1.0, 1000)[0] == (4, 8, 14)
    assert new_table(2.7, 1000)[0] == (2, 3, 5)
    assert new_table(1.0, 1)[1] == 1 << 14
    assert new_table(1.0, 10**9)[1] == 1 << 18


def test_what_core_text_pays_too_much_for_is_rolled_back() -> None:
    torch.manual_seed(0)
    lm = TinyLM(TinyLMConfig(vocab_size=TOKENS.vocab_size, dim=8, layers=1)).eval().requires_grad_(False)
    torch.nn.init.normal_(lm.head.weight, std=0.3)
    model = SlowWeights(lm, ("norm.weight",))
    bound = CoreText(core())
    (before,) = bound.losses(lm)

    def rise(weights) -> float:
        return bound.losses(with_weights(lm, weights))[0] - before

    learner = ManySteps(GradientLearner(model, SGD(5.0)))
    lessons = Lessons([trace("abcdefgh" * 5)], core(), seq_len=8, core_ratio=0.1, seed=0)
    for limit, decision in ((1e-4, "rolled_back"), (1e4, "committed")):
        guard = Guard(Policy(), None, (CoreBound(rise, limit),), score_after=False)
        slept = train(lambda _: learner, guard, lessons, GUARD_EVERY)
        assert [(step, event.decision) for step, event in slept.events] == [(10, decision)]
    started = train(lambda _: learner, guard, lessons, 50, until=lambda: True)
    assert (started.steps, started.events) == (0, [])
