"""bench ttt --model: speeds, and memory that grows with the root of the length."""

import pytest

from fastweights.errors import FastweightsError
from fastweights.services.bench_ttt_model import bench_ttt_model, segment


def test_figures() -> None:
    result = bench_ttt_model(seqs=(32, 64), repeats=1)
    assert all(rate > 0 for rate in result["tokens_per_second"].values())
    assert set(result["peak_bytes"]) == {"32", "64"}
    assert result["train_long_to_short"] > 0


def test_segments_grow_with_the_root() -> None:
    assert [segment(n) for n in (1, 32, 128, 512)] == [1, 2, 4, 8]


def test_lengths() -> None:
    with pytest.raises(FastweightsError, match="chunk=16"):
        bench_ttt_model(seqs=(32, 40))
