"""``eval mixers``: three models of one size get one text and one CPU time."""

import json

import pytest

from fastweights.cli.main import run
from fastweights.errors import FastweightsError
from fastweights.services.evals.mixers import FIGURES, MIXERS, eval_mixers

FLAGS = ["--cpu-seconds", "0.1", "--seq-len", "64", "--batch-size", "2", "--layers", "1", "--dim", "32"]


def test_three_mixers_of_one_size_use_the_budget() -> None:
    found = eval_mixers(cpu_seconds=0.2, seq_len=64, batch_size=2, layers=1, dim=32, window=16, seeds=2)
    sizes = [found[name]["parameters"] for name in MIXERS]
    assert max(sizes) < 1.02 * min(sizes)
    for name in MIXERS:
        one = found[name]
        for figure in FIGURES:
            values = one[figure]["values"]
            assert len(values) == 2
            assert min(values) <= one[figure]["mean"] <= max(values)
            assert one[figure]["half_width"] >= 0
        assert all(seconds >= 0.2 for seconds in one["cpu_seconds"]["values"])
        assert 0 < one["cold_bpb"]["mean"] < 12
        assert 0 < one["stream_bpb"]["mean"] < 12
    json.dumps(found, allow_nan=False)


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "mixers", *FLAGS]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in MIXERS)


@pytest.mark.parametrize("fields", [{"cpu_seconds": 0}, {"seeds": 0}, {"seeds": 11}])
def test_what_cannot_be_measured_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(FastweightsError, match=next(iter(fields))):
        eval_mixers(**fields)  # type: ignore[arg-type]
