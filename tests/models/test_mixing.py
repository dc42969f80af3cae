"""The mix of log odds: slopes and gradients are exact, and no choice of weights depends on what was learned."""

import numpy as np

from fastweights.models.memory.mixing import ROWS, SETS, kind, mix, mix_gradient, rows


def case() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs ``[64, 5]``, weights ``[2, ROWS, 5]`` fp64, sequences and rows."""
    rng = np.random.default_rng(0)
    input_MC = rng.normal(scale=3.0, size=(64, 5)).astype(np.float32)
    return input_MC, rng.normal(size=(2, ROWS, 5)), rng.integers(2, size=64), rng.integers(ROWS, size=(64, SETS))


def test_the_mix_is_the_sum_of_inputs_with_the_mean_of_their_weights() -> None:
    input_MC, weight_BRC, batch_M, row_MS = case()
    odds_M, slope_MC = mix(input_MC, weight_BRC, batch_M, row_MS)
    mean_MC = np.stack([weight_BRC[b, row_S].mean(0) for b, row_S in zip(batch_M, row_MS, strict=True)])
    np.testing.assert_allclose(slope_MC, mean_MC, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(odds_M, (mean_MC * input_MC).sum(1), rtol=1e-4, atol=1e-5)
    alone_M, _ = mix(input_MC, weight_BRC[:1], batch_M, row_MS)
    np.testing.assert_array_equal(alone_M[batch_M == 0], odds_M[batch_M == 0])


def test_the_gradient_for_the_weights_is_exact() -> None:
    """The log odds are linear in the weights."""
    input_MC, weight_BRC, batch_M, row_MS = case()
    slope_M = np.random.default_rng(1).normal(size=len(input_MC))
    odds_M, _ = mix(input_MC, weight_BRC, batch_M, row_MS)
    gradient_BRC = mix_gradient(slope_M, input_MC, batch_M, row_MS, 2)
    np.testing.assert_allclose((gradient_BRC * weight_BRC).sum(), slope_M @ odds_M, rtol=1e-4)
    other = np.random.default_rng(2).normal(size=weight_BRC.shape)
    change_M = mix(input_MC, weight_BRC + other, batch_M, row_MS)[0] - odds_M
    np.testing.assert_allclose((gradient_BRC * other).sum(), slope_M @ change_M, rtol=1e-4)


def test_rows_are_in_their_sets() -> None:
    rng = np.random.default_rng(0)
    place_M = np.sort(rng.integers(16, size=200))
    found_MS = rows(
        rng.normal(scale=8, size=200).astype(np.float32), rng.integers(30, size=200), place_M, rng.exponential(size=16),
        rng.integers(8, size=16), rng.integers(40, size=16),
    )  # fmt: skip
    assert found_MS.min() >= 0
    assert found_MS.max() < ROWS
    assert all(found_MS[:, s].max() < found_MS[:, s + 1].min() for s in range(SETS - 1))
    assert {kind(byte) for byte in range(256)} == set(range(8))
