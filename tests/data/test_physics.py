"""The point mass: its equations, its generator, and a trajectory that is the same in however many pieces."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastweights.data import physics
from fastweights.data.physics import MODES, Mode, World
from fastweights.errors import FastweightsError


@pytest.mark.parametrize("mode", MODES)
def test_equations(mode: Mode) -> None:
    world = physics.start(mode, 3)
    assert physics.MU_RANGE[0] <= world.mu <= physics.MU_RANGE[1]
    _, path = physics.advance(world, 400)
    slow = 0
    for t in range(400):
        mu = world.mu
        if mode == "nonlinear":
            is_slow = bool(np.hypot(*path.vel[t]) < 2 * mu)
            slow += is_slow
            mu = min(0.95, 2 * mu) if is_slow else 0.5 * mu
        np.testing.assert_allclose(path.vel[t + 1], (1 - mu) * path.vel[t] + path.action[t], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(path.pos[t + 1], path.pos[t] + path.vel[t + 1], rtol=1e-12, atol=1e-15)
    assert (slow > 0) == (mode == "nonlinear")
    assert physics.simulator_errors(mode, world.mu, path).max() < 1e-24
    assert physics.simulator_errors(mode, physics.MEAN_MU, path).mean() > 1e-6


def test_noise_is_a_force_that_the_oracle_cannot_know() -> None:
    _, still = physics.advance(physics.start("linear", 1), 2000)
    world, path = physics.advance(physics.start("linear", 1, noise=0.2), 2000)
    assert np.array_equal(still.action, path.action)
    assert physics.simulator_errors("linear", world.mu, path).mean() == pytest.approx(0.04, rel=0.1)


@given(st.lists(st.integers(0, 70), max_size=6), st.sampled_from(MODES), st.integers(0, 2**40), st.floats(0, 1))
def test_pieces_equal_the_whole(pieces: list[int], mode: Mode, seed: int, noise: float) -> None:
    begin = physics.start(mode, seed, noise=noise)
    whole_end, whole = physics.advance(begin, sum(pieces))
    at, found = begin, []
    for steps in pieces:
        at = World.from_json(json.loads(json.dumps(at.to_json())))
        at, path = physics.advance(at, steps)
        found.append(path)
    assert at == whole_end
    if found:
        assert np.array_equal(np.concatenate([p.action for p in found]), whole.action)
        assert np.array_equal(np.concatenate([p.vel[1:] for p in found]), whole.vel[1:])


def test_seeds_differ_and_mu_can_be_given() -> None:
    assert physics.start("linear", 0).mu != physics.start("linear", 1).mu
    one, two = (physics.advance(physics.start("linear", 5, mu=mu), 10)[1] for mu in (0.1, 0.2))
    assert np.array_equal(one.action, two.action)


def test_many_worlds_follow_the_same_equations() -> None:
    mu_N, vel, action = physics.many("nonlinear", 3, 50, 0)
    for t in range(50):
        np.testing.assert_array_equal(vel[:, t + 1], physics.next_velocity("nonlinear", mu_N, vel[:, t], action[:, t]))


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(FastweightsError, match="mode 'cubic'"):
        physics.start("cubic", 0)  # type: ignore[arg-type]
    with pytest.raises(FastweightsError, match="noise is -1"):
        physics.start("linear", 0, noise=-1)
    with pytest.raises(FastweightsError, match="mu is 2"):
        physics.start("linear", 0, mu=2)
