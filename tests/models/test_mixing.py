"""The mix of log odds: no jump, and the slopes and gradients that finite differences give."""

import numpy as np

from fastweights.models.memory.mixing import LEVELS, mix, mix_gradient

BANDED = np.array([False, True, True, True, False])


def case() -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Inputs ``[64, 5]`` in and beyond all bands, weights ``[2, LEVELS, 5, 6]`` fp64, blocks."""
    rng = np.random.default_rng(0)
    input_MC = rng.normal(scale=3.0, size=(64, 5)).astype(np.float32)
    input_MC[::7, 2] = 0
    return input_MC, rng.normal(size=(2, LEVELS, 5, 6)), (rng.integers(2, size=64), rng.integers(LEVELS, size=64))


def test_an_input_that_grows_makes_no_jump() -> None:
    """With a weight a band the log odds jumped at the borders, so that a guard could not shorten such a write."""
    _, weight_BLCN, _ = case()
    size = np.linspace(0, 8, 4001, dtype=np.float32)
    input_MC = np.zeros((len(size), 5), np.float32)
    input_MC[:, 1] = size
    first = np.zeros(len(size), np.int64)
    odds_M, slope_MC = mix(input_MC, weight_BLCN, first, first, BANDED)
    steepest = np.abs(slope_MC[:, 1]).max()
    assert np.abs(np.diff(odds_M)).max() < 1.1 * steepest * (size[1] - size[0])
    assert np.ptp(odds_M) > 1


def test_slopes_are_the_derivative() -> None:
    input_MC, weight_BLCN, place = case()
    _, slope_MC = mix(input_MC, weight_BLCN, *place, BANDED)
    bent = np.abs(np.abs(input_MC) * 1.2 - 0.5) % 1  # at a middle the line bends
    for column in range(5):
        step = np.zeros(5, np.float32)
        step[column] = 2**-9
        up, down = (mix(input_MC + sign * step, weight_BLCN, *place, BANDED)[0] for sign in (1, -1))
        smooth = (bent[:, column] > 0.01) & (bent[:, column] < 0.99) & (np.abs(input_MC[:, column]) > 0.01)
        np.testing.assert_allclose(((up - down) / 2**-8)[smooth], slope_MC[smooth, column], atol=2e-3, rtol=2e-3)
        assert smooth.sum() > 40


def test_the_gradient_for_the_weights_is_exact() -> None:
    """The log odds are linear in the weights."""
    input_MC, weight_BLCN, place = case()
    slope_M = np.random.default_rng(1).normal(size=len(input_MC))
    odds_M, _ = mix(input_MC, weight_BLCN, *place, BANDED)
    gradient = mix_gradient(slope_M, input_MC, *place, BANDED, 2, 6)
    np.testing.assert_allclose((gradient * weight_BLCN).sum(), slope_M @ odds_M, rtol=1e-5)
    other = np.random.default_rng(2).normal(size=weight_BLCN.shape)
    change_M = mix(input_MC, weight_BLCN + other, *place, BANDED)[0] - odds_M
    np.testing.assert_allclose((gradient * other).sum(), slope_M @ change_M, rtol=1e-5)
