"""Every memory beside the head: starts as the frozen model, proposes purely, resumes bit for bit, passes the guard."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from fastweights.core.chunks import next_token_chunks
from fastweights.core.rules import SGD
from fastweights.core.state import FastState, add, expand, from_tensors, map_rows, norm_B, to_tensors
from fastweights.core.table import RowDelta
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.guard.canaries import Canaries, token_rows
from fastweights.guard.guard import Guard
from fastweights.guard.policy import Policy
from fastweights.models.memory.build import beside_head, decoder_of
from fastweights.models.memory.decode import MixDecoder
from fastweights.models.memory.online_mix import LOGIT, MixConfig, OnlineMix
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from fastweights.models.tiny_lm_decode import Decoder

NAMES = ("head", "delta", "ngram", "mix")
TEXT = b"def add(first, second):\n    return first + second\n\n\ndef sub(first, second):\n    return first - second\n"
TOKENIZER = ByteTokenizer()


@pytest.fixture(scope="module")
def lm() -> TinyLM:
    torch.manual_seed(0)
    lm = TinyLM(TinyLMConfig(vocab_size=258, dim=16, layers=1)).eval().requires_grad_(False)
    torch.nn.init.normal_(lm.head.weight, std=0.3)
    return lm


def learner(lm: TinyLM, name: str) -> Any:
    it = beside_head(name, lm, TOKENIZER, SGD(0.1))
    return replace(it, config=replace(it.config, bits=14)) if isinstance(it, OnlineMix) else it


def chunks(text: bytes, size: int = 16) -> list[Any]:
    return list(next_token_chunks(TOKENIZER.bos_id, list(text), size))


def read(it: Any, text: bytes, state: FastState | None = None) -> tuple[FastState, list[float]]:
    return read_in(it, text, 16, state)


def read_in(it: Any, text: bytes, size: int, state: FastState | None = None) -> tuple[FastState, list[float]]:
    after: FastState = it.init() if state is None else state
    losses = []
    for chunk in chunks(text, size):
        proposal = it.propose(after, chunk)
        after = proposal.after
        losses.append(float(proposal.output.loss_B))
    return after, losses


def same(a: FastState, b: FastState) -> None:
    left, right = to_tensors(a), to_tensors(b)
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_begins_as_the_frozen_model(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    chunk = chunks(TEXT, 64)[0]
    logits_BTV, _ = lm(chunk.tokens_BT)
    frozen = torch.nn.functional.cross_entropy(logits_BTV[0], chunk.targets_BT[0])
    torch.testing.assert_close(it.score(it.init(), chunk)[0], frozen, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_learns_what_comes_again(lm: TinyLM, name: str) -> None:
    _, losses = read(learner(lm, name), 4 * TEXT)
    third = len(losses) // 3
    assert np.mean(losses[-third:]) < np.mean(losses[:third]) - 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_proposal_changes_nothing_and_is_repeatable(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    state, _ = read(it, TEXT)
    kept = {k: v.clone() for k, v in to_tensors(state).items()}
    chunk = chunks(TEXT[::-1])[0]
    first, second = it.propose(state, chunk), it.propose(state, chunk)
    same(first.after, second.after)
    assert first.refused.weights is state.weights
    assert first.refused.rule is state.rule
    for key, value in to_tensors(state).items():
        assert torch.equal(value, kept[key]), key
    assert torch.equal(it.score(state, chunk), it.score_and_grad(state, chunk)[0])
    if not isinstance(it, OnlineMix):  # which learns from each token before it reads the next
        assert torch.equal(first.output.loss_B, it.score(state, chunk))


@pytest.mark.parametrize("name", ["ngram", "mix"])
def test_a_chunk_is_read_as_its_tokens_one_by_one(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    it = replace(it, config=replace(it.config, map_rate=0.0))  # the map takes one step a chunk
    (whole, losses), (single, of_tokens) = read_in(it, 2 * TEXT, 51), read_in(it, 2 * TEXT, 1)
    assert np.mean(of_tokens) == pytest.approx(np.mean(losses), rel=1e-4)
    for key, value in to_tensors(replace(whole, step=0)).items():
        torch.testing.assert_close(value, to_tensors(replace(single, step=0))[key], rtol=1e-3, atol=1e-4)
    first = it.prepare(chunks(TEXT, 1)[0], it.init().carry)
    assert torch.equal(it.propose(it.init(), first).output.loss_B, it.score(it.init(), first))


@pytest.mark.parametrize("name", NAMES)
def test_the_delta_is_what_was_written(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    state, _ = read(it, TEXT)
    proposal = it.propose(state, chunks(TEXT[::-1])[0])
    by_hand = replace(proposal.after, weights=add(state.weights, proposal.delta))
    for key, value in to_tensors(by_hand).items():
        torch.testing.assert_close(value, to_tensors(proposal.after)[key])
    assert float(norm_B(proposal.delta)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_resumes_bit_for_bit(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    state, _ = read(it, TEXT)
    back = from_tensors(to_tensors(state), it.init())
    (a, losses_a), (b, losses_b) = read(it, TEXT, state), read(it, TEXT, back)
    same(a, b)
    assert losses_a == losses_b


@pytest.mark.parametrize("name", NAMES)
def test_sequences_are_isolated(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    one, two = chunks(TEXT)[0], chunks(TEXT[::-1])[0]
    pair = one._replace(
        tokens_BT=torch.cat([one.tokens_BT, two.tokens_BT]),
        targets_BT=torch.cat([one.targets_BT, two.targets_BT]),
        mask_BT=torch.cat([one.mask_BT, two.mask_BT]),
    )
    together, alone = it.propose(it.init(2), pair), it.propose(it.init(), one)
    torch.testing.assert_close(together.output.loss_B[:1], alone.output.loss_B)
    again = it.score(together.after, pair)
    torch.testing.assert_close(again[:1], it.score(alone.after, one), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_derivative_of_the_loss(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    state, _ = read(it, TEXT)
    chunk = it.prepare(chunks(TEXT[::-1])[0], state.carry)
    grads = dict(it.score_and_grad(state, chunk)[1])
    if LOGIT in grads:  # an expert that is 0 has seen nothing; it is not on the way to one that has
        rows_N, values_BN, _ = grads[LOGIT]
        now_BN = state.weights[LOGIT].read(rows_N[None])
        grads[LOGIT] = RowDelta(rows_N, torch.where(now_BN != 0, values_BN, 0))
    step = 1e-3 / float(norm_B(grads))
    up, down = (_moved(it, state, chunk, grads, sign * step) for sign in (1, -1))
    torch.testing.assert_close((up - down) / (2 * step), norm_B(grads) ** 2, rtol=0.05, atol=1e-4)


def _moved(it: Any, state: FastState, chunk: Any, grads: Any, step: float) -> torch.Tensor:
    delta = {name: map_rows(lambda v: step * v, g) for name, g in grads.items()}
    return it.score(replace(state, weights=add(state.weights, delta)), chunk)


@pytest.mark.parametrize("name", NAMES)
def test_passes_the_guard_and_a_refusal_is_exact(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    canaries = Canaries.prepare(it, ("a", "b"), token_rows([list(b"Water boils."), list(b"Are you?")], 256))
    strict = Policy.model_validate({"drift": {"budget": 1e-6}, "audit": {"max_delta": 1e-6}, "spfw": {"mode": "off"}})
    for policy in (Policy(), strict):
        guard = Guard(policy, canaries)
        session = guard.begin(it, it.init())
        for chunk in chunks(4 * TEXT):
            outcome = guard.step(it, session, chunk)
            if not outcome.committed:
                assert outcome.session.fast.weights is session.fast.weights
            session = outcome.session
        if policy is not strict:
            assert session.fast.step > 0


@pytest.mark.parametrize("name", ["delta", "mix"])
def test_decoding_agrees_with_reading(lm: TinyLM, name: str) -> None:
    it = learner(lm, name)
    state, _ = read(it, TEXT)
    ids = [int(state.carry["last_B"][0]), *b"return second"]
    decoder = decoder_of(it, state, Decoder(lm))
    decoder.load(state.carry["lm"])
    nats = []
    for token, following in pairwise(ids):
        logits_V = torch.from_numpy(np.asarray(decoder.logits(decoder.step(token)), np.float32))
        nats.append(-float(logits_V.log_softmax(0)[following]))
    chunk = next(next_token_chunks(ids[0], ids[1:], 64))
    assert np.mean(nats) == pytest.approx(float(it.score(state, chunk)), rel=1e-4, abs=1e-4)
    if isinstance(decoder, MixDecoder):
        read_on = it.prepare(chunk, state.carry).inputs["features"]["carry"]
        assert torch.equal(torch.from_numpy(decoder.past["past_BP"]), read_on["past_BP"])


def test_what_cannot_be_learned_costs_little() -> None:
    """Random bytes under a frozen model that nothing can beat on them (it says that all bytes are alike)."""
    it = learner(TinyLM(TinyLMConfig(vocab_size=258, dim=8, layers=1)).eval().requires_grad_(False), "mix")
    text = np.random.default_rng(0).integers(0, 256, 4096).astype(np.uint8).tobytes()
    _, losses = read_in(it, text, 64)
    assert np.mean(losses) / np.log(2) <= np.log2(258) + 0.12


def test_shuffled_text_is_no_worse_than_frozen(lm: TinyLM) -> None:
    it = learner(lm, "mix")
    text = np.random.default_rng(0).permutation(np.frombuffer(20 * TEXT, np.uint8)).tobytes()
    _, losses = read_in(it, text, 64)
    logits_BTV, _ = lm(torch.tensor([[256, *text[:-1]]]))
    frozen = float(torch.nn.functional.cross_entropy(logits_BTV[0], torch.tensor(list(text))))
    assert np.mean(losses) <= frozen + 0.01 * np.log(2)


def test_an_older_table_is_what_it_was(lm: TinyLM) -> None:
    it = learner(lm, "mix")
    states = [it.init()]
    for chunk in chunks(2 * TEXT):
        states.append(it.propose(states[-1], chunk).after)
    kept = [s.weights[LOGIT].dense() for s in states]
    for i in (3, 0, len(states) - 1, 5, 5, 1):
        assert torch.equal(states[i].weights[LOGIT].dense(), kept[i])
    fork = it.propose(states[2], chunks(TEXT[::-1])[1]).after
    assert not torch.equal(fork.weights[LOGIT].dense(), kept[3])
    assert torch.equal(states[-1].weights[LOGIT].dense(), kept[-1])


def test_canaries_share_one_table(lm: TinyLM) -> None:
    it = learner(lm, "mix")
    state, _ = read(it, TEXT)
    assert expand(state.weights, 3)[LOGIT] is state.weights[LOGIT]


def test_size_of_the_state() -> None:
    assert 2 ** MixConfig().bits * 5 < 25_000_000
