"""The benches report figures only after parity, and refuse otherwise."""

from pathlib import Path

import pytest

from fastweights.errors import FastweightsError
from fastweights.layers import naive
from fastweights.services.bench.store import bench_store
from fastweights.services.bench.tiny_lm import bench_decode, bench_scan
from fastweights.store.root import Store


def test_scan() -> None:
    result = bench_scan(2, 40, 8, repeats=2)
    assert result["worst_difference"] <= 1e-5
    assert result["cpu_ms"] >= 0


def test_decode_is_much_faster_than_reading_anew(tmp_path: Path) -> None:
    result = bench_decode(Store(tmp_path), prefix=256, tokens=16, repeats=1)
    assert 0.8e6 < result["params"] < 1.3e6
    assert result["worst_difference"] <= 1e-4
    assert result["ratio"] > 12
    assert not any(tmp_path.iterdir())


def test_no_speed_without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    right = naive.scan
    monkeypatch.setattr(naive, "scan", lambda a, u, s0: right(a, u, s0) * 1.001)
    with pytest.raises(FastweightsError, match="no speed to report"):
        bench_scan(2, 10, 4, repeats=1)


def test_store_lists_the_same_sessions_in_every_way() -> None:
    result = bench_store(40, repeats=1)
    assert result["sessions"] == 40
    assert result["index_bytes"] > 40 * 100


def test_bad_lengths(tmp_path: Path) -> None:
    with pytest.raises(FastweightsError, match="tokens=256"):
        bench_decode(Store(tmp_path), prefix=256, tokens=256)
    with pytest.raises(FastweightsError, match="sessions=0"):
        bench_store(0)
