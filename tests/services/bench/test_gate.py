import pytest

from fastweights.errors import FastweightsError
from fastweights.services.bench.gate import FAMILIES, bench_gate


def test_reports_every_family() -> None:
    report = bench_gate(size=4096, repeats=1)
    assert set(report["families"]) == set(FAMILIES)
    assert report["measured"] == len(FAMILIES)
    assert 0 < report["p50_ms"] <= report["p99_ms"] <= report["max_ms"]
    assert report["worst_family"] in FAMILIES


def test_needs_a_size() -> None:
    with pytest.raises(FastweightsError, match="size=10"):
        bench_gate(size=10)
