"""AUC, its interval, the curve: against what they are by definition."""

import numpy as np
import pytest

from fastweights.redteam.scores import auc, auc_interval, roc, wilson


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    up, down = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 30).astype(float)
    pairs = [(u > d) + (u == d) / 2 for u in up for d in down]
    assert auc(up, down) == pytest.approx(np.mean(pairs))
    assert auc(up, up) == pytest.approx(0.5)


def test_the_interval_draws_texts() -> None:
    one = auc_interval("gate", "blobs", [[1.0, 2.0], [3.0]], [[0.0], [1.5, 0.5]], draws=100, seed=0)
    assert one is not None
    assert one.auc.value == pytest.approx(8 / 9)
    assert one.auc.value is not None
    assert one.auc.low is not None
    assert one.auc.high is not None
    assert 0.5 <= one.auc.low <= one.auc.value <= one.auc.high <= 1
    assert (one.positives, one.negatives) == (3, 3)
    assert auc_interval("gate", "blobs", [], [[1.0]], draws=10, seed=0) is None


def test_the_curve_goes_from_corner_to_corner() -> None:
    curve = roc("gate", [2.0, 3.0, 1.0], [0.0, 1.0])
    assert (curve.false_alarms[0], curve.detections[0]) == (0.0, 0.0)
    assert (curve.false_alarms[-1], curve.detections[-1]) == (1.0, 1.0)
    assert curve.false_alarms == sorted(curve.false_alarms)
    assert curve.detections == sorted(curve.detections)


def test_wilson() -> None:
    none = wilson(0, 10)
    assert none.low == 0.0
    assert none.high == pytest.approx(0.2775, abs=1e-3)
    assert wilson(0, 0).value is None
