"""Recursive least squares: equal to the textbook's loop and to batch ridge regression; a learner like any other."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fastweights.core.learner import InnerOutput
from fastweights.core.least_squares import LeastSquaresLearner, Regression, recursive_least_squares
from fastweights.core.state import Chunk, Weights, from_tensors, is_finite, to_tensors

D, O = 5, 2  # noqa: E741


@dataclass(frozen=True)
class Line:
    """``y = h W'`` with a second fast weight that does nothing to it."""

    readout: str = "w"

    def init_weights(self, batch: int) -> Weights:
        return {"w": torch.zeros(batch, O, D), "other": torch.ones(batch, 3)}

    def init_carry(self, batch: int) -> Any:
        return {"read": torch.zeros(batch)}

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        return chunk.inputs

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        error = features["h"] @ weights["w"].mT - features["y"]
        return InnerOutput(error.square().mean((1, 2)), {"read": carry["read"] + features["h"].shape[1]})

    def regression(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> Regression:
        return Regression(features["h"], features["y"])


def _data(steps: int, seed: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    return torch.randn(batch, steps, D, generator=gen), torch.randn(batch, steps, O, generator=gen)


def _chunk(h: Tensor, y: Tensor) -> Chunk:
    ids = torch.zeros(h.shape[:2], dtype=torch.int64)
    return Chunk(ids, ids, torch.ones_like(ids, dtype=torch.bool), inputs={"h": h, "y": y})


def _textbook(w: Tensor, p: Tensor, h: Tensor, y: Tensor, forgetting: float) -> tuple[Tensor, Tensor, Tensor]:
    found = []
    for h_D, y_O in zip(h, y, strict=True):
        error_O = y_O - w @ h_D
        found.append(error_O)
        gain_D = p @ h_D / (forgetting + h_D @ p @ h_D)
        w, p = w + error_O[:, None] * gain_D, (p - gain_D[:, None] * (h_D @ p)) / forgetting
    return w, p, torch.stack(found)


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.5, 1.0), st.floats(0.01, 100.0))
def test_equals_the_textbooks_loop_and_ridge_regression(seed: int, steps: int, forgetting: float, prior: float) -> None:
    h, y = (x.double() for x in _data(steps, seed))
    w0 = torch.randn(1, O, D, generator=torch.Generator().manual_seed(seed + 1)).double()
    a0 = torch.eye(D).double()[None] / prior
    found = recursive_least_squares(w0, a0, Regression(h, y), forgetting)

    w, p, innovations = _textbook(w0[0], torch.linalg.inv(a0[0]), h[0], y[0], forgetting)
    torch.testing.assert_close(found.weight_BOD[0], w, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.innovations_BTO[0], innovations, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(torch.linalg.inv(found.precision_BDD[0]), p, rtol=1e-6, atol=1e-8)

    weight_T = forgetting ** torch.arange(steps - 1, -1, -1).double()
    gram = (h[0].T * weight_T) @ h[0] + forgetting**steps * a0[0]
    right = (y[0] - h[0] @ w0[0].T).T @ (h[0] * weight_T[:, None])
    torch.testing.assert_close(found.weight_BOD[0], w0[0] + torch.linalg.solve(gram, right.T).T, rtol=1e-8, atol=1e-8)


def test_a_learner_like_any_other() -> None:
    learner = LeastSquaresLearner(Line(), prior=100.0)
    h, _ = _data(20, 0, batch=2)
    truth = torch.randn(2, O, D, generator=torch.Generator().manual_seed(9))
    chunk = _chunk(h, h @ truth.mT)
    state = learner.init(2)
    proposal = learner.propose(state, chunk)
    assert torch.equal(proposal.output.loss_B, learner.score(state, chunk))
    assert proposal.refused.weights is state.weights
    assert proposal.refused.rule is state.rule
    assert proposal.after.step == 1
    assert proposal.after.carry["read"].tolist() == [20, 20]
    torch.testing.assert_close(proposal.after.weights["w"], truth, rtol=0.01, atol=0.01)
    assert torch.equal(proposal.after.weights["other"], state.weights["other"])
    for name, weight in state.weights.items():
        assert torch.equal(weight + proposal.delta[name], proposal.after.weights[name])
    assert proposal.grads is not None
    assert float(proposal.grads["other"].abs().max()) == 0
    live = state.weights["w"].clone().requires_grad_()
    loss_B = Line().forward({"w": live}, chunk.inputs, chunk, state.carry).loss_B
    torch.testing.assert_close(proposal.grads["w"], torch.autograd.grad(loss_B.sum(), live)[0])
    back = from_tensors(to_tensors(proposal.after), learner.init(2))
    assert torch.equal(learner.propose(back, chunk).delta["w"], learner.propose(proposal.after, chunk).delta["w"])

    alone = learner.propose(learner.init(1), _chunk(h[1:], (h @ truth.mT)[1:]))
    torch.testing.assert_close(alone.after.weights["w"][0], proposal.after.weights["w"][1])


def test_directions_without_input_do_not_wind_up() -> None:
    learner = LeastSquaresLearner(Line(), forgetting=0.9, prior=2.0)
    state = learner.init()
    h, y = _data(16, 3)
    h[..., 1:] = 0  # only the first regressor ever moves
    for _ in range(200):  # plain forgetting would have grown P by 0.9^-3200
        state = learner.propose(state, _chunk(h, y)).after
    precision = state.rule["information"]["w"][0] + torch.eye(D) / 2.0
    assert float(torch.linalg.eigvalsh(torch.linalg.inv(precision)).max()) <= 2.0 + 1e-4


def test_chunks_are_the_textbooks_steps() -> None:
    """Without forgetting, chunk by chunk and step by step are the same."""
    learner = LeastSquaresLearner(Line(), forgetting=1.0, prior=5.0)
    h, y = _data(30, 7)
    state = learner.init()
    for piece in zip(h.split(10, 1), y.split(10, 1), strict=True):
        state = learner.propose(state, _chunk(*piece)).after
    w, _, _ = _textbook(torch.zeros(O, D), 5.0 * torch.eye(D), h[0], y[0], 1.0)
    torch.testing.assert_close(state.weights["w"][0], w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", [0.01, 3.0])
def test_noisy_targets_are_trusted_less(noise: float) -> None:
    """With the noise estimated, the write is the ridge regression that knows it."""
    learner = LeastSquaresLearner(Line(), forgetting=1.0, prior=1e6, spread=0.5)
    gen = torch.Generator().manual_seed(0)
    truth = 0.7 * torch.randn(O, D, generator=gen)
    h = torch.randn(1, 64, D, generator=gen)
    y = h @ truth.T + noise * torch.randn(1, 64, O, generator=gen)
    after = learner.propose(learner.init(), _chunk(h, y)).after
    total, count = after.rule["noise"]["w"][0].tolist()
    assert count == 65
    ridge = total / count / 0.5
    want = torch.linalg.solve(h[0].T @ h[0] + ridge * torch.eye(D), h[0].T @ y[0]).T
    torch.testing.assert_close(after.weights["w"][0], want, rtol=1e-4, atol=1e-5)
    if noise > 1:
        assert 0.5 < total / count / noise**2 < 2  # what was not yet learned counts too


def test_input_that_is_not_finite_proposes_nan_and_does_not_raise() -> None:
    learner = LeastSquaresLearner(Line())
    h, y = _data(8, 4)
    h[0, 3, 1] = torch.nan
    assert not is_finite(learner.propose(learner.init(), _chunk(h, y)).after.weights)


@pytest.mark.parametrize("wrong", [{"forgetting": 0.0}, {"forgetting": 1.1}, {"prior": 0.0}, {"spread": 0.0}])
def test_options_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LeastSquaresLearner(Line(), **wrong)
