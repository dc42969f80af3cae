"""The projection: no canary's first-order loss rises, whatever made the delta; the change is the smallest possible."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.core.learner import GradientLearner, Proposal
from fastweights.core.rules import SGD, Muon
from fastweights.core.state import FastState, dot_B, norm_B
from fastweights.guard.spfw import nonnegative_least_squares, project
from tests.contracts.learners import RULES, TinyModel, learner, random_chunk


def _random(seed: int, n: int, kind: str) -> tuple[dict, dict]:
    generator = torch.Generator().manual_seed(seed)
    delta = {"a": torch.randn(1, 4, 3, generator=generator), "b": torch.randn(1, 5, generator=generator)}
    grads = {"a": torch.randn(n, 4, 3, generator=generator), "b": torch.randn(n, 5, generator=generator)}
    if kind == "parallel":
        grads = {k: g[:1] * torch.arange(1, n + 1).view(-1, *[1] * (g.dim() - 1)) for k, g in grads.items()}
    elif kind == "opposite" and n > 1:
        grads = {k: torch.cat([g[:-1], -g[:1]]) for k, g in grads.items()}
    elif kind == "zero":
        grads = {k: torch.cat([g[:-1] * 0, g[-1:]]) for k, g in grads.items()}
    elif kind == "along":
        grads = {k: g * 0.01 + delta[k] for k, g in grads.items()}
    elif kind == "tiny":
        grads = {k: g * 1e-12 for k, g in grads.items()}
    return delta, grads


@given(
    st.integers(0, 10_000),
    st.integers(1, 7),
    st.sampled_from(["plain", "parallel", "opposite", "zero", "along", "tiny"]),
)
def test_no_canary_rises_to_first_order(seed: int, n: int, kind: str) -> None:
    delta, grads = _random(seed, n, kind)
    projected = project(delta, grads)
    products = dot_B(grads, projected)
    scale = norm_B(grads) * norm_B(delta)
    assert bool((products <= 1e-6 * scale + 1e-30).all()), (products / scale).tolist()
    assert norm_B(projected) <= norm_B(delta) * (1 + 1e-6)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_it_is_the_nearest_point_of_the_cone(seed: int, n: int) -> None:
    """Projection onto a convex cone: <d - d', d'> = 0, and no other point of the cone lies nearer."""
    delta, grads = _random(seed, n, "plain")
    projected = project(delta, grads)
    residual = {k: delta[k] - projected[k] for k in delta}
    assert abs(dot_B(residual, projected).item()) < 1e-4 * norm_B(delta).item() ** 2
    others, _ = _random(seed + 1, n, "plain")
    inside = project(others, grads)
    for t in (0.1, 1.0):
        moved = {k: projected[k] + t * (inside[k] - projected[k]) for k in delta}
        distance = norm_B({k: delta[k] - moved[k] for k in delta})
        assert distance >= norm_B(residual) - 1e-5


def test_an_allowed_delta_is_returned_as_it_is() -> None:
    delta = {"a": torch.tensor([[-1.0, 0.0]])}
    assert project(delta, {"a": torch.tensor([[1.0, 0.0]])}) is delta


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_multipliers_satisfy_the_optimality_conditions(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(n, 3, generator=generator, dtype=torch.float64)  # n > 3: a singular Gram matrix
    target = g @ torch.randn(3, generator=generator, dtype=torch.float64)
    x = nonnegative_least_squares(g @ g.T, target)
    slope = g @ g.T @ x - target
    assert bool((x >= 0).all())
    assert bool((slope >= -1e-6).all())
    assert abs(float(x @ slope)) < 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_every_rules_write_lowers_or_keeps_each_canary_to_first_order(rule: str) -> None:
    it = learner(rule, inner_steps=2)
    state = it.init()
    canaries = [random_chunk(seed=s) for s in (10, 11, 12)]
    raw_rises = 0
    for seed in range(6):
        proposal = it.propose(state, random_chunk(seed=seed))
        rows = [
            it.score_and_grad(it.init(), c)[1] if seed == 0 else it.score_and_grad(_fresh(it, proposal), c)[1]
            for c in canaries
        ]
        grads = {k: torch.cat([row[k] for row in rows]) for k in rows[0]}
        raw_rises += int((dot_B(grads, proposal.delta) > 0).sum())
        delta = project(proposal.delta, grads)
        assert bool((dot_B(grads, delta) <= 1e-6 * norm_B(grads) * norm_B(proposal.delta)).all())
        state = proposal.after
    assert raw_rises > 0  # without the projection some canaries would have risen


def _fresh(it: GradientLearner, proposal: Proposal) -> FastState:
    return replace(it.init(), weights=proposal.before.weights)


def test_projecting_the_gradient_before_muon_does_not_do() -> None:
    """The measured reason for projecting the delta: with Muon, a projected gradient still raises canaries."""
    it = GradientLearner(TinyModel(), Muon(lr=0.03))
    state, rises = it.init(), 0
    for seed in range(20):
        chunk, canary = random_chunk(seed=seed), random_chunk(seed=100 + seed)
        grads, canary_grads = it.score_and_grad(state, chunk)[1], it.score_and_grad(state, canary)[1]
        negative = project({k: -g for k, g in grads.items()}, canary_grads)
        delta, _ = it.rule.delta({k: -d for k, d in negative.items()}, it.rule.init(state.weights), state.weights)
        rises += int(dot_B(canary_grads, delta).item() > 0)
        safe = project(SGD(lr=1.0).delta(grads, {}, state.weights)[0], canary_grads)
        assert dot_B(canary_grads, safe).item() <= 1e-6
    assert rises > 0
