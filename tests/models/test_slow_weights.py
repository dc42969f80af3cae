"""Slow weights as fast weights: the same loss and gradient as autograd's on the module, and a table that grows."""

import math

import pytest
import torch

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import SGD, Adagrad
from fastweights.core.state import add
from fastweights.models.row_change import CHANGE, PROJECT, RowChange, merged, ngram_of, with_change
from fastweights.models.slow_weights import Lesson, ManySteps, SlowWeights, shortfall_N, steps_chunk
from fastweights.models.tiny_lm import TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from tests.small_ttt import random_ttt

V, T = 17, 9


def small(**config) -> TinyLM:
    torch.manual_seed(0)
    lm = TinyLM(TinyLMConfig(**{"vocab_size": V, "dim": 8, "layers": 1, **config}))
    torch.nn.init.normal_(lm.head.weight, std=0.3)
    return lm.eval().requires_grad_(False)


def lesson(rows: int = 3, taught: int | None = None, seed: int = 0) -> Lesson:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, V, (rows, T + 1), generator=generator)
    mask = torch.arange(T).expand(rows, T) < torch.tensor([[T], [T - 2], [T]])[:rows]
    teacher = None if taught is None else torch.randn(taught, T, V, generator=generator).log_softmax(-1)
    return Lesson(ids[:, :-1], ids[:, 1:], mask, teacher)


def test_the_gradient_is_that_of_the_module() -> None:
    lm, given = small(), lesson()
    names = ("backbone.layers.0.mixer.project.weight", "norm.weight")
    learner = GradientLearner(SlowWeights(lm, names), SGD(0.1))
    proposal = learner.propose(learner.init(), given.chunk())
    for name in names:
        lm.get_parameter(name).requires_grad_(True)
    logits = lm(given.tokens_NT)[0]
    loss = torch.nn.functional.cross_entropy(logits[given.mask_NT], given.targets_NT[given.mask_NT])
    grads = torch.autograd.grad(loss, [lm.get_parameter(name) for name in names])
    torch.testing.assert_close(proposal.output.loss_B[0], loss.detach())
    assert proposal.grads is not None
    for name, grad in zip(names, grads, strict=True):
        torch.testing.assert_close(proposal.grads[name][0], grad)


def test_taught_rows_learn_from_their_teacher_and_the_others_from_the_text() -> None:
    lm, given = small(), lesson(taught=2)
    model = SlowWeights(lm, ("norm.weight",))
    learner = GradientLearner(model, SGD(0.1))
    loss = float(learner.score(learner.init(), given.chunk()))
    learned = lm(given.tokens_NT)[0].log_softmax(-1)
    assert given.taught_NTV is not None
    kl = (given.taught_NTV.exp() * (given.taught_NTV - learned[:2])).sum(-1)[given.mask_NT[:2]].sum()
    text = -learned[2].gather(1, given.targets_NT[2, :, None]).sum()
    assert loss == pytest.approx(float((kl + text) / given.mask_NT.sum()), rel=1e-5)


def test_a_token_is_to_become_as_likely_as_the_teacher_finds_it_and_no_more() -> None:
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    even = -math.log(2)
    known = torch.tensor([[even + 0.5, even + 3.0, even - 1.0, -math.inf]])
    targets, mask = torch.zeros(1, 4, dtype=torch.long), torch.tensor([[True, True, True, True]])
    loss = shortfall_N(logits, targets, known, mask)
    assert float(loss.detach()) == pytest.approx((0.5**2 / 2 + 2.5) / 4)
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    assert grad.isfinite().all()
    assert (grad[0, :, 0] < 0).tolist() == [True, True, False, False]


def test_a_model_that_learns_as_it_reads_is_taught_in_readings_in_which_it_learns_nothing() -> None:
    lm, given = random_ttt(vocab=V), lesson(taught=2)
    learner = GradientLearner(SlowWeights(lm, ("layers.0.mixer.W1",)), SGD(0.1))
    loss = float(learner.score(learner.init(), given.chunk()))
    assert given.taught_NTV is not None
    told, text = lm(given.tokens_NT[:2], learn=False)[0], lm(given.tokens_NT[2:])[0]
    assert not torch.allclose(told, lm(given.tokens_NT[:2])[0])
    kl = (given.taught_NTV.exp() * (given.taught_NTV - told.log_softmax(-1))).sum(-1)[given.mask_NT[:2]].sum()
    rest = -text[0].log_softmax(-1).gather(1, given.targets_NT[2, :, None]).sum()
    assert loss == pytest.approx(float((kl + rest) / given.mask_NT.sum()), rel=1e-5)


def test_many_steps_are_one_proposal() -> None:
    lm, lessons = small(), [lesson(seed=seed) for seed in range(3)]
    one = GradientLearner(SlowWeights(lm, ("norm.weight",)), Adagrad(0.1))
    proposal = ManySteps(one).propose(one.init(), steps_chunk(lessons))
    state = one.init()
    for given in lessons:
        state = one.propose(state, given.chunk()).after
    assert torch.equal(proposal.after.weights["norm.weight"], state.weights["norm.weight"])
    assert torch.allclose(add(one.init().weights, proposal.delta)["norm.weight"], state.weights["norm.weight"])
    assert proposal.refused.weights is proposal.before.weights


@pytest.mark.parametrize("config", [{}, {"ngram_orders": (2, 3), "ngram_rows": 512, "ngram_width": 4}])
def test_a_change_of_rows_is_that_change_of_the_table(config: dict) -> None:
    lm = small(**config)
    if config:
        lm.get_parameter("embedding.ngram.weight").normal_()
    grown, blank = ngram_of(lm, (2, 4), 1024, 4, seed=0)
    assert blank == (not config)
    tokens = torch.randint(0, V, (2, T))
    assert torch.equal(grown(tokens)[0], lm(tokens)[0])
    assert grown.embedding.ngram is not None
    rows = grown.embedding.ngram.rows(tokens[:1], grown.embedding.ngram.init_carry(1))[0].unique()
    student = with_change(grown, rows, blank=blank)
    assert torch.equal(student(tokens)[0], lm(tokens)[0])
    table = student.embedding.ngram
    assert isinstance(table, RowChange)
    with torch.no_grad():
        student.get_parameter(CHANGE).normal_()
        student.get_parameter(PROJECT).mul_(1.5 if blank else 1.0)
    whole = merged(student, grown)
    assert not torch.equal(whole(tokens)[0], lm(tokens)[0])
    torch.testing.assert_close(whole(tokens)[0], student(tokens)[0])
    assert torch.equal(grown(tokens)[0], lm(tokens)[0])
