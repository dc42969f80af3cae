"""NanoSSM: the blocks equal the recurrence step by step, closed-form gradients equal autograd, and it stays stable."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, Weights
from fastweights.data import physics
from fastweights.models.nano import A_RAW, INPUTS, OUTPUTS, PLASTIC, NanoSSM, nano_chunk, targets
from fastweights.models.nano_config import CHUNK, NanoConfig, NanoLearning
from fastweights.models.nano_reader import NanoReader
from tests.models.nano_models import base


def _chunks(count: int, batch: int = 2) -> list[Chunk]:
    model = base()
    _, vel, action = physics.many("linear", batch, count * CHUNK, 11)
    x, y = torch.from_numpy(model.inputs(vel[:, :-1], action)), torch.from_numpy(targets(vel))
    return [nano_chunk(a, b) for a, b in zip(x.split(CHUNK, 1), y.split(CHUNK, 1), strict=True)]


def _replayed(replay: int) -> NanoSSM:
    return NanoSSM(base().config, {**base().weights, A_RAW: base().a_raw}, replay)


def _by_steps(model: NanoSSM, weights: Weights, h_BD: Tensor, x_BTJ: Tensor) -> tuple[Tensor, Tensor]:
    found = []
    for t in range(x_BTJ.shape[1]):
        z_BO, h_BD = model.step(weights, h_BD, x_BTJ[:, t])
        found.append(z_BO)
    return torch.stack(found, 1), h_BD


def test_it_has_736_plastic_parameters() -> None:
    model = base()
    assert sum(model.weights[name].numel() for name in PLASTIC) == 736
    assert {n: tuple(w.shape) for n, w in model.weights.items()} == {"W_u": (16, 6), "B": (32, 16), "W_o": (4, 32)}
    assert bool(((model.decay_D > 0) & (model.decay_D < 1)).all())


@pytest.mark.parametrize("replay", [CHUNK, 4 * CHUNK])
def test_blocks_equal_the_recurrence(replay: int) -> None:
    model, chunks = _replayed(replay), _chunks(6)
    weights, carry, h_BD = model.init_weights(2), model.init_carry(2), torch.zeros(2, 32)
    starts = []
    for i, chunk in enumerate(chunks):
        output = model.forward(weights, model.encode(chunk, carry), chunk, carry)
        starts.append(h_BD)
        _, h_BD = _by_steps(model, weights, h_BD, chunk.inputs["x"])
        torch.testing.assert_close(output.carry["h"], h_BD, rtol=1e-4, atol=1e-5)
        seen = chunks[max(0, i + 1 - replay // CHUNK) : i + 1]
        x, y = (torch.cat([c.inputs[k] for c in seen], 1) for k in ("x", "y"))
        z, _ = _by_steps(model, weights, starts[i + 1 - len(seen)], x)
        torch.testing.assert_close(output.loss_B, (z - y).square().mean((1, 2)), rtol=1e-3, atol=1e-7)
        weights = {name: w * 1.01 for name, w in weights.items()}  # the live state goes on under other weights
        carry = output.carry


@pytest.mark.parametrize("replay", [CHUNK, 3 * CHUNK])
def test_closed_form_equals_autograd(replay: int) -> None:
    model = _replayed(replay)
    learner = GradientLearner(model, SGD(0.01))
    state = learner.init(2)
    for chunk in _chunks(4):
        prepared = learner.prepare(chunk, state.carry)
        features = prepared.inputs["features"]
        output, closed = model.closed_form(state.weights, features, chunk, state.carry, grad=True)
        assert closed is not None
        live = {name: w.clone().requires_grad_() for name, w in state.weights.items()}
        loss_B = model.forward(live, features, chunk, state.carry).loss_B
        torch.testing.assert_close(output.loss_B, loss_B.detach(), rtol=1e-5, atol=1e-9)
        for (name, g), auto in zip(closed.items(), torch.autograd.grad(loss_B.sum(), [*live.values()]), strict=True):
            torch.testing.assert_close(g, auto, rtol=1e-3, atol=1e-6, msg=name)
        state = learner.propose(state, chunk).after


def test_a_weight_that_does_not_fit_is_named() -> None:
    weights = {**base().weights, A_RAW: base().a_raw}
    with pytest.raises(ValueError, match="W_o"):
        NanoSSM(NanoConfig(), {**weights, "W_o": torch.zeros(3, 32)})
    with pytest.raises(ValueError, match="a_raw reaches 40"):
        NanoSSM(NanoConfig(), {**weights, A_RAW: torch.full((32,), 40.0)})


_SIZES = st.one_of(st.floats(-3, 9), st.just(float("inf")), st.just(float("nan")))


@given(st.integers(0, 10_000), st.floats(-12, 12), st.tuples(_SIZES, _SIZES, _SIZES))
@settings(max_examples=40)
def test_whatever_the_guard_lets_through_is_stable(seed: int, raw: float, exponents: tuple[float, ...]) -> None:
    """Any decay, and proposals of any size, random or not finite: what is committed keeps every state in bounds."""
    gen = torch.Generator().manual_seed(seed)
    weights = {**base().weights, A_RAW: base().a_raw.lerp(torch.full((32,), raw), torch.rand(32, generator=gen))}
    reader = NanoReader(NanoSSM(NanoConfig(), weights), NanoLearning(rule="sgd", replay=CHUNK))
    assert bool(((reader.plain.decay_D > 0) & (reader.plain.decay_D < 1)).all())
    state = reader.start(physics.start("linear", seed))

    class Wild:
        """Adds what hypothesis drew to what SGD proposed."""

        def __getattr__(self, name: str):
            return getattr(reader.learner, name)

        def propose(self, *args):
            found = reader.learner.propose(*args)
            change = {
                n: 10.0**e * torch.randn(w.shape, generator=gen)
                for (n, w), e in zip(found.before.weights.items(), exponents, strict=True)
            }
            after = {n: w + change[n] for n, w in found.before.weights.items()}
            return found._replace(delta=change, after=replace(found.after, weights=after))

    chunk = _chunks(1, batch=1)[0]
    outcome = reader.guard.step(Wild(), state.session, chunk)  # type: ignore[arg-type]
    kept = outcome.session.fast
    if not outcome.committed:
        assert kept.weights is state.session.fast.weights
    bound_D = (kept.weights["B"][0] @ kept.weights["W_u"][0]).abs().sum(1) * 10 / (1 - reader.plain.decay_D)
    assert bool(torch.isfinite(bound_D).all())
    h_BD = kept.carry["h"]
    for _ in range(300):  # inputs of at most 10
        x_BJ = 20 * torch.rand(1, INPUTS, generator=gen) - 10
        z_BO, h_BD = reader.plain.step(kept.weights, h_BD, x_BJ)
        assert z_BO.shape == (1, OUTPUTS)
        assert bool((h_BD[0].abs() <= bound_D * 1.001 + kept.carry["h"].abs()[0] + 1e-6).all())
