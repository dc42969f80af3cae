"""The evaluation's own arithmetic: gap, intervals, the re-fit; and that it counts what a run says."""

import numpy as np
import pytest
import torch

from fastweights.data import physics
from fastweights.evals.nano import bootstrap, gap_closed, refit_errors, run, score, wilson
from fastweights.models.nano import targets
from fastweights.models.nano_config import CHUNK, NanoLearning
from fastweights.models.nano_reader import NanoReader
from tests.models.nano_models import base


def test_gap_closed() -> None:
    frozen, oracle = np.array([2.0, 4.0]), np.array([0.0, 1.0])
    assert gap_closed(frozen, oracle, oracle) == 1
    assert gap_closed(frozen, frozen, oracle) == 0
    assert gap_closed(frozen, frozen + 1, oracle) < 0
    assert gap_closed(frozen, (frozen + oracle) / 2, oracle) == pytest.approx(0.5)


def test_intervals() -> None:
    low, high = wilson(40, 40)
    assert (low, high) == (pytest.approx(0.912, abs=1e-3), 1.0)
    low, high = wilson(20, 40)
    assert low < 0.5 < high
    sample = np.random.default_rng(1).normal(3.0, 1.0, 200)
    low, high = bootstrap(lambda x: float(x.mean()), sample)
    assert low < sample.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.15)
    assert bootstrap(lambda x: float(x.mean()), sample) == (low, high)


@pytest.mark.parametrize("steps", [5 * CHUNK, 3 * CHUNK + 7])
def test_the_refit_is_ridge_regression_on_all_steps_so_far(steps: int) -> None:
    model, prior = base(), 10.0
    _, path = physics.advance(physics.start("linear", 2, noise=0.1), steps)
    found = refit_errors(model, path, prior)
    x = torch.from_numpy(model.inputs(path.vel[:-1], path.action))
    h_BD, rows = torch.zeros(1, 32), []
    for t in range(steps):
        _, h_BD = model.step(model.init_weights(1), h_BD, x[t : t + 1])
        rows.append(h_BD[0])
    h_ND, y_NO, w0 = torch.stack(rows).double(), torch.from_numpy(targets(path.vel)).double(), model.weights["W_o"]
    for first in range(0, steps, CHUNK):
        before_h, before_y = h_ND[:first], y_NO[:first]
        gram = before_h.T @ before_h + torch.eye(32, dtype=torch.float64) / prior
        weight = w0.double() + torch.linalg.solve(gram, before_h.T @ (before_y - before_h @ w0.double().T)).T
        now = slice(first, min(first + CHUNK, steps))
        want = (h_ND[now] @ weight.T - y_NO[now]).square().mean(1)
        np.testing.assert_allclose(found[now], want.numpy(), rtol=1e-2, atol=1e-9)


def test_a_score_sums_up_its_runs() -> None:
    learning = NanoLearning()
    found = score(base(), learning, "linear", range(3), steps=200, noise=0.05)
    reader = NanoReader(base(), learning)
    alone = run(reader, "linear", 1, 200, 0.05).figures
    assert found.per_seed[1] == alone
    assert found.runs == 3
    assert found.wins == sum(one.adaptive_mse < one.frozen_mse for one in found.per_seed)
    assert found.frozen_mse == pytest.approx(np.mean([one.frozen_mse for one in found.per_seed]))
    assert found.gap_closed_ci[0] <= found.gap_closed <= found.gap_closed_ci[1]
    assert found.oracle_mse == pytest.approx(0.0025, rel=0.3)
    assert found.commits + found.rollbacks == 3 * (200 // CHUNK)
