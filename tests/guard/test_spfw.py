"""The projection: no canary's first-order loss rises, whatever made the delta; the change is the smallest possible."""

from dataclasses import replace
from itertools import combinations

import numpy as np
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


def _nearest_by_enumeration(d_P: np.ndarray, g_nP: np.ndarray) -> np.ndarray:
    """The projection onto {x : g_i x <= 0} by trying every set of constraints that could hold with equality (fp64)."""
    best = np.zeros_like(d_P)  # always allowed
    unit_nP = g_nP / np.linalg.norm(g_nP, axis=1, keepdims=True)
    for size in range(len(g_nP) + 1):
        for index in combinations(range(len(g_nP)), size):
            rows = unit_nP[list(index)]
            x_P = d_P - rows.T @ np.linalg.lstsq(rows.T, d_P, rcond=None)[0] if size else d_P
            allowed = (unit_nP @ x_P).max() <= 1e-9 * np.linalg.norm(d_P)
            if allowed and np.linalg.norm(d_P - x_P) < np.linalg.norm(d_P - best):
                best = x_P
    return best


@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.integers(2, 8),
    st.sampled_from(["plain", "near", "opposite", "along"]),
    st.sampled_from([1e-1, 1e-3, 1e-5]),
)
def test_it_is_the_nearest_point_found_by_enumeration(seed: int, n: int, dims: int, kind: str, angle: float) -> None:
    """Near-opposite and near-equal gradients too: the allowed deltas are a thin wedge, and 0 is not the nearest."""
    generator = torch.Generator().manual_seed(seed)
    d_P, g_nP = torch.randn(dims, generator=generator), torch.randn(n, dims, generator=generator)
    if kind in ("near", "opposite") and n > 1:
        sign = -1.0 if kind == "opposite" else 1.0
        g_nP[1] = sign * g_nP[0] + angle * torch.randn(dims, generator=generator)
    elif kind == "along":
        g_nP = d_P + angle * g_nP
    projected_P = project({"a": d_P[None]}, {"a": g_nP})["a"][0]
    rise_n = (g_nP.double() @ projected_P.double()) / g_nP.double().norm(dim=1)
    assert float(rise_n.max()) <= 1e-6 * float(d_P.norm())
    wanted_P = _nearest_by_enumeration(d_P.double().numpy(), g_nP.double().numpy())
    distance, least = (np.linalg.norm(d_P.double().numpy() - x) for x in (projected_P.double().numpy(), wanted_P))
    assert distance <= least + 1e-4 * float(d_P.norm())
    assert np.linalg.norm(projected_P.numpy() - wanted_P) <= 2e-3 * float(d_P.norm())


@pytest.mark.parametrize("angle", [1e-2, 1e-4, 1e-6, 0.0])
def test_opposite_gradients_leave_what_lies_across_them(angle: float) -> None:
    """Two canaries that pull apart forbid one direction; all the rest of the delta stays."""
    g_nP = torch.tensor([[1.0, 0.0, 0.0], [-1.0, angle, 0.0]])
    projected = project({"a": torch.tensor([[1.0, -1.0, 2.0]])}, {"a": g_nP})["a"][0]
    torch.testing.assert_close(projected, torch.tensor([0.0, -1.0, 2.0]), atol=2e-2 if angle == 1e-2 else 1e-3, rtol=0)


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_multipliers_satisfy_the_optimality_conditions(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    a_kn = generator.normal(size=(3, n))  # n > 3: dependent columns
    a_kn /= np.linalg.norm(a_kn, axis=0)
    b_k = generator.normal(size=3)
    x_n = nonnegative_least_squares(a_kn, b_k)
    slope_n = a_kn.T @ (b_k - a_kn @ x_n)
    assert (x_n >= 0).all()
    assert (slope_n <= 1e-9).all()
    assert abs(x_n @ slope_n) < 1e-9


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
