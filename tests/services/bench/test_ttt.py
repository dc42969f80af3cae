"""bench ttt: all ways agree before a speed is told, and the verb prints them."""

import json
from typing import Any

import pytest

from fastweights.cli.main import run
from fastweights.core.memory import keep_freed_memory, peak, start_peak
from fastweights.errors import FastweightsError
from fastweights.layers import ttt_linear_cpu
from fastweights.services.bench.ttt import bench_ttt

SMALL: dict[str, Any] = {"heads": 2, "head_dim": 16, "chunk": 4, "seq": 24, "repeats": 1, "compiled": False}
FLAGS = ["--heads", "2", "--head-dim", "16", "--chunk", "4", "--seq", "24", "--repeats", "1", "--no-compiled", "--json"]


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_way_has_its_figures(dtype: str) -> None:
    result = bench_ttt(**SMALL, batch=2, dtype=dtype)
    assert set(result["worst_difference"]) == {"primal_fused", "dual", "handwritten"}
    assert max(result["worst_difference"].values()) <= 1e-4
    for name in ("primal", "primal_fused", "official", "dual", "handwritten"):
        assert result[name]["forward"] > result[name]["forward_backward"] > 0
        assert 0 < result[name]["gemm_share"]["forward"] < 1
    for ratio in ("ratio", "ratio_to_primal_fused", "ratio_to_official"):
        assert result[ratio]["handwritten"]["forward"] > 0
    assert result["compiled"] is None
    assert result["compiled_why_not"]


def test_no_speed_without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ttt_linear_cpu.normalize_backward
    monkeypatch.setattr(ttt_linear_cpu, "normalize_backward", lambda *args: right(*args) * 1.01)
    with pytest.raises(FastweightsError, match="no speed to report"):
        bench_ttt(**SMALL)


def test_lengths_must_be_whole_chunks() -> None:
    with pytest.raises(FastweightsError, match="seq=30"):
        bench_ttt(**{**SMALL, "seq": 30})


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "ttt", *FLAGS]) == 0
    assert json.loads(capsys.readouterr().out)["handwritten"]["forward"] > 0
    assert run(["bench", "ttt", *FLAGS, "--assert-speedup", "100000"]) == 1
    out = capsys.readouterr()
    assert json.loads(out.out)["primal"]["forward"] > 0
    assert "--assert-speedup" in out.err


def test_memory() -> None:
    keep_freed_memory()
    before = start_peak()
    block = bytearray(b"x") * (32 << 20)
    after = peak()
    assert (before is None) or (after is not None and after - before >= len(block) // 2)
