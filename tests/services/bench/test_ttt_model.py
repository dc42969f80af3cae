"""bench ttt --model: speeds, and memory that grows with the root of the length."""

import pytest
import torch

from fastweights.cli.main import run
from fastweights.errors import FastweightsError
from fastweights.services.bench.ttt_memory import bench_ttt_memory, live_bytes
from fastweights.services.bench.ttt_model import bench_ttt_model, segment


def test_figures() -> None:
    result = bench_ttt_model(seqs=(32, 64), repeats=1)
    assert all(rate > 0 for rate in result["tokens_per_second"].values())
    assert set(result["to_official"]) >= {"prefill", "train", "train_long", "decode", "decode_lean"}
    assert set(result["peak_bytes"]) == {"32", "64"}
    assert result["train_long_to_short"] > 0


def test_segments_grow_with_the_root() -> None:
    assert [segment(n) for n in (1, 32, 128, 512)] == [1, 2, 4, 8]


def test_lengths() -> None:
    with pytest.raises(FastweightsError, match="chunk=16"):
        bench_ttt_model(seqs=(32, 40))
    with pytest.raises(FastweightsError, match="chunk=16"):
        bench_ttt_memory(seqs=(32,))


def test_live_bytes_are_what_is_held_at_once() -> None:
    def hold() -> None:
        for _ in range(3):
            torch.ones(1 << 20).add(1)

    assert live_bytes(hold, torch.device("cpu")) == pytest.approx(8 << 20, rel=1e-3)


def test_checkpoints_hold_less() -> None:
    found = bench_ttt_memory(seqs=(64, 256))
    assert found["rows"][1]["live_mb"] < found["rows"][1]["live_mb_off"]
    assert found["exponent"] < 0.5 < found["exponent_off"]


def test_one_bench_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "ttt", "--model", "--memory"]) == 2
    assert "--memory" in capsys.readouterr().err
