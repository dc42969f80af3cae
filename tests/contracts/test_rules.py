"""Every update rule: pure, deterministic, sequences isolated, twice differentiable."""

import pytest
import torch

from fastweights.core.state import Weights
from tests.contracts.learners import RULES, TinyModel

pytestmark = pytest.mark.parametrize("name", RULES)


def _weights_and_grads(batch: int, dtype: torch.dtype = torch.float32) -> tuple[Weights, Weights]:
    weights = TinyModel(dtype).init_weights(batch)
    generator = torch.Generator().manual_seed(3)
    grads = {k: torch.randn(w.shape, generator=generator, dtype=torch.float64).to(dtype) for k, w in weights.items()}
    return weights, grads


def _copy(tensors: Weights) -> Weights:
    return {k: t.clone() for k, t in tensors.items()}


def test_pure_and_deterministic(name: str) -> None:
    rule = RULES[name]()
    weights, grads = _weights_and_grads(2)
    state = rule.init(weights)
    kept = _copy(weights), _copy(grads), {k: _copy(v) for k, v in state.items()}
    first, state_1 = rule.delta(grads, state, weights)
    again, state_2 = rule.delta(grads, state, weights)
    for key in weights:
        assert torch.equal(first[key], again[key])
        assert torch.equal(weights[key], kept[0][key])
        assert torch.equal(grads[key], kept[1][key])
        for slot in state:
            assert torch.equal(state[slot][key], kept[2][slot][key])
            assert torch.equal(state_1[slot][key], state_2[slot][key])


def test_batch_equals_one_by_one_over_three_steps(name: str) -> None:
    rule = RULES[name]()
    weights, grads = _weights_and_grads(3)

    def run(sequences: slice) -> Weights:
        w = {k: v[sequences] for k, v in weights.items()}
        state = rule.init(w)
        for step in range(3):
            g = {k: v[sequences] * (step + 1) + w[k] for k, v in grads.items()}
            delta, state = rule.delta(g, state, w)
            w = {k: v + delta[k] for k, v in w.items()}
        return w

    together = run(slice(None))
    for i in range(3):
        alone = run(slice(i, i + 1))
        for key in weights:
            torch.testing.assert_close(together[key][i : i + 1], alone[key], rtol=1e-5, atol=1e-6)


def test_descends_and_keeps_shape_and_dtype(name: str) -> None:
    rule = RULES[name]()
    weights, grads = _weights_and_grads(2)
    delta, _ = rule.delta(grads, rule.init(weights), weights)
    for key in weights:
        assert delta[key].shape == weights[key].shape
        assert delta[key].dtype == torch.float32
        assert (delta[key] * grads[key]).sum() < 0


def test_zero_gradient_writes_nothing_and_is_differentiable(name: str) -> None:
    rule = RULES[name]()
    weights, _ = _weights_and_grads(1)
    grads = {k: torch.zeros_like(w, requires_grad=True) for k, w in weights.items()}
    delta, _ = rule.delta(grads, rule.init(weights), weights)
    assert all(d.abs().max() == 0 for d in delta.values())
    back = torch.autograd.grad(torch.stack([d.sum() for d in delta.values()]).sum(), list(grads.values()))
    assert all(torch.isfinite(b).all() for b in back)


def test_gradgradcheck_through_three_steps(name: str) -> None:
    """Three unrolled steps whose gradients depend on the weights: first and second derivatives in fp64."""
    rule = RULES[name]()
    names: tuple[str, ...] = ("w", "bias")

    def unrolled(*tensors: torch.Tensor) -> torch.Tensor:
        weights: Weights = dict(zip(names, tensors, strict=True))
        state = rule.init(weights)
        for _ in range(3):
            grads = {k: torch.sin(v) + 0.1 * v for k, v in weights.items()}
            delta, state = rule.delta(grads, state, weights)
            weights = {k: v + delta[k] for k, v in weights.items()}
        return sum((v**2).sum() for v in weights.values())  # type: ignore[return-value]

    generator = torch.Generator().manual_seed(0)
    inputs = tuple(
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((1, 3, 2), (1, 3))
    )
    assert torch.autograd.gradcheck(unrolled, inputs)
    assert torch.autograd.gradgradcheck(unrolled, inputs)
