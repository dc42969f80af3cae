"""``bench attention`` and ``bench gradgrad`` as a user runs them, small."""

import json

import pytest
import torch

from fastweights.errors import FastweightsError
from fastweights.layers import attention as module
from fastweights.services.bench.attention import PHASES, bench_attention
from fastweights.services.bench.gradgrad import bench_gradgrad


def test_attention_measures_every_way() -> None:
    found = bench_attention(seq=70, heads=2, dim=4, batch=2, window=16, repeats=1)
    assert set(found["worst_difference"]) == {"explicit", "math", "custom", "banded"}
    for name in found["worst_difference"]:
        assert all(found[name][f"{phase}_ms"] > 0 for phase in PHASES)
    json.dumps(found, allow_nan=False)


def test_attention_with_a_wrong_second_derivative_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._second
    monkeypatch.setattr(module, "_second", lambda *args: tuple(1.01 * g for g in right(*args)))
    with pytest.raises(FastweightsError, match="custom differs from explicit"):
        bench_attention(seq=20, heads=1, dim=4, window=8, repeats=1)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_meta_gradient_is_exact(seed: int) -> None:
    found = bench_gradgrad(chunks=2, directions=1, seed=seed)
    assert found["worst_difference"] < 1e-7
    assert found["checkpointed"] < 1e-12
    assert found["first_order"] > 1e-3  # the second order is there, so the check has teeth
    assert set(found["finite_differences"]) == {
        "attention",
        "norms",
        "static",
        "fast",
        "rate",
        "embedding and head",
        "all",
    }


def test_a_wrong_second_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module._second
    monkeypatch.setattr(module, "_second", lambda *args: tuple(torch.zeros_like(g) for g in right(*args)))
    with pytest.raises(FastweightsError, match="meta-gradient is off"):
        bench_gradgrad(chunks=2, directions=1)


def test_one_block_proves_nothing() -> None:
    with pytest.raises(FastweightsError, match="2 or more"):
        bench_gradgrad(blocks=1)


@pytest.mark.parametrize("seed", [-1, 2**70])
def test_a_seed_that_no_generator_takes_is_refused(seed: int) -> None:
    with pytest.raises(FastweightsError, match="seed="):
        bench_gradgrad(seed=seed)
