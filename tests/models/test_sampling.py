"""Sampling: greedy, seeded, nucleus; the distribution is the one asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastweights.models.sampling import Sampler

LOGITS = np.log(np.array([0.5, 0.3, 0.15, 0.05], dtype=np.float32))


def test_greedy_takes_the_largest_that_is_allowed() -> None:
    assert Sampler(0, 1, 0).draw(LOGITS) == 0
    assert Sampler(0, 1, 0, forbidden=(0,)).draw(LOGITS) == 1


def test_frequencies_follow_the_logits_and_the_temperature() -> None:
    for temperature in (1.0, 0.5):
        sampler = Sampler(temperature, 1.0, seed=0)
        counts = np.bincount([sampler.draw(LOGITS) for _ in range(4000)], minlength=4) / 4000
        expected = np.exp(LOGITS / temperature)
        np.testing.assert_allclose(counts, expected / expected.sum(), atol=0.03)


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    for top_p, kept in ((0.4, {0}), (0.6, {0, 1}), (0.79, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        sampler = Sampler(1.0, top_p, seed=1)
        assert {sampler.draw(LOGITS) for _ in range(500)} == kept


@given(st.integers(0, 2**63 - 1), st.floats(0.01, 5), st.floats(0.01, 1))
def test_same_seed_same_tokens_and_logits_untouched(seed: int, temperature: float, top_p: float) -> None:
    logits = np.random.default_rng(0).standard_normal((20, 50)).astype(np.float32)
    kept = logits.copy()
    a, b = (Sampler(temperature, top_p, seed, forbidden=(7,)) for _ in range(2))
    drawn = [a.draw(row) for row in logits]
    assert drawn == [b.draw(row) for row in logits]
    assert 7 not in drawn
    assert np.array_equal(logits, kept)


def test_extreme_logits_do_not_break_it() -> None:
    assert Sampler(1e-3, 0.9, 0).draw(np.array([1e30, -1e30, 0], dtype=np.float32)) == 0
    assert Sampler(1e-300, 1, 0).draw(LOGITS) == 0
    assert Sampler(10, 1e-9, 0).draw(np.zeros(5, dtype=np.float32)) in range(5)
