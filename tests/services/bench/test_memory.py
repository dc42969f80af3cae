"""The bench of the default memory reports figures only after parity with its plain definition."""

from pathlib import Path

import pytest

from fastweights.errors import FastweightsError
from fastweights.models.memory.naive import NaiveMix
from fastweights.services.bench.memory import bench_memory
from fastweights.store.root import Store


def test_reading_is_faster_than_plain_python(tmp_path: Path) -> None:
    result = bench_memory(Store(tmp_path), None, size=1024, repeats=1)
    assert result["model"] == "starter"
    assert result["worst_difference"] <= 0.01
    assert result["ratio"] > 2
    assert result["guard_ms_per_kb"] > 0


def test_no_speed_without_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = NaiveMix.read
    monkeypatch.setattr(NaiveMix, "read", lambda self, chunk: 1.1 * right(self, chunk))
    with pytest.raises(FastweightsError, match="no speed to report"):
        bench_memory(Store(tmp_path), None, size=1024, repeats=1)
    with pytest.raises(FastweightsError, match="size 10"):
        bench_memory(Store(tmp_path), None, size=10, repeats=1)
