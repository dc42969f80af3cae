"""The outer gradient through the inner loop: exact against finite differences, and unchanged by checkpointing."""

import pytest
import torch

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import SGD, Muon
from fastweights.core.state import FastState
from fastweights.core.unroll import unroll
from tests.contracts.learners import TinyModel, random_chunk

CHUNKS = [random_chunk(2, seed=s) for s in range(3)]
RULES = {"sgd": SGD(lr=0.3), "momentum": SGD(lr=0.1, momentum=0.9), "muon": Muon(lr=0.03)}


def _outer_loss(rule: str, w: torch.Tensor, *, checkpoint: bool = False) -> torch.Tensor:
    it = GradientLearner(TinyModel(torch.float64), RULES[rule])
    start = it.init(2)
    state = FastState({**start.weights, "w": w}, start.rule, start.carry)
    _, loss_BC = unroll(it, state, CHUNKS, create_graph=True, checkpoint=checkpoint)
    return loss_BC.mean()


def _w0() -> torch.Tensor:
    return TinyModel(torch.float64).init_weights(2)["w"].clone().requires_grad_(True)


@pytest.mark.parametrize("rule", RULES)
def test_gradcheck_through_three_steps(rule: str) -> None:
    assert torch.autograd.gradcheck(lambda w: _outer_loss(rule, w), (_w0(),))


@pytest.mark.parametrize("rule", RULES)
def test_checkpointed_equals_unchecked(rule: str) -> None:
    w, w_checked = _w0(), _w0()
    plain, checked = _outer_loss(rule, w), _outer_loss(rule, w_checked, checkpoint=True)
    assert torch.equal(plain, checked)
    torch.testing.assert_close(
        torch.autograd.grad(plain, w)[0], torch.autograd.grad(checked, w_checked)[0], rtol=1e-12, atol=1e-14
    )


def test_a_learned_rate_gets_the_exact_gradient() -> None:
    def outer(lr: torch.Tensor) -> torch.Tensor:
        it = GradientLearner(TinyModel(torch.float64), SGD(lr=dict.fromkeys(("w", "tall", "bias", "cube"), lr)))
        return unroll(it, it.init(2), CHUNKS, create_graph=True)[1].mean()

    assert torch.autograd.gradcheck(outer, (torch.tensor(0.2, dtype=torch.float64, requires_grad=True),))


def test_the_second_order_term_is_there() -> None:
    """Dropping the inner gradient's own dependence (first order) must give another number: the test above has teeth."""
    w = _w0()
    exact = torch.autograd.grad(_outer_loss("sgd", w), w)[0]
    it = GradientLearner(TinyModel(torch.float64), SGD(lr=0.3))
    start = it.init(2)
    state, total = FastState({**start.weights, "w": w}, start.rule, start.carry), torch.zeros((), dtype=torch.float64)
    for chunk in CHUNKS:
        chunk = it.prepare(chunk, state.carry)
        output = it.model.forward(state.weights, chunk.inputs["features"], chunk, state.carry)
        total = total + output.loss_B.mean() / len(CHUNKS)
        delta = it.propose(state, chunk).delta  # detached
        state = FastState({k: v + delta[k] for k, v in state.weights.items()}, {}, output.carry)
    first_order = torch.autograd.grad(total, w)[0]
    assert (exact - first_order).abs().max() > 1e-4


def test_unroll_needs_a_chunk() -> None:
    it = GradientLearner(TinyModel(), SGD())
    with pytest.raises(ValueError, match="at least one chunk"):
        unroll(it, it.init(), [])
