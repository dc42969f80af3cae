"""``eval mixers``: three models of one size get one text and one CPU time."""

import json

import pytest

from fastweights.errors import FastweightsError
from fastweights.services.eval_mixers import MIXERS, eval_mixers


def test_three_mixers_of_one_size() -> None:
    found = eval_mixers(cpu_seconds=0.2, seq_len=64, batch_size=2, layers=1, dim=32, window=16)
    sizes = [found[name]["parameters"] for name in MIXERS]
    assert max(sizes) < 1.05 * min(sizes)
    for name in MIXERS:
        one = found[name]
        assert one["tokens"] == one["steps"] * 128
        assert 0 < one["cold_bpb"] < 12
        assert 0 < one["stream_bpb"] < 12
    json.dumps(found, allow_nan=False)


def test_no_time_is_refused() -> None:
    with pytest.raises(FastweightsError, match="above 0"):
        eval_mixers(cpu_seconds=0)
