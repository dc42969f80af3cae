"""``eval kv`` in small: every row is there, baselines and grids included, and nothing leaks backwards."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastweights.errors import FastweightsError
from fastweights.services.evals import kv_report as eval_kv_report
from fastweights.services.evals.kv import ROWS, _config, eval_kv
from fastweights.services.evals.kv_seed import GRID
from fastweights.train.config import load_config

SMALL: dict[str, Any] = {
    "model": {
        "kind": "e2e",
        "dim": 8,
        "heads": 2,
        "layers": 2,
        "window": 12,
        "init_std": 0.3,
        "inner": {"chunk": 12, "learned_rates": True, "clip": None},
    },
    "meta": {
        "kv": {"keys": 24, "values": 5, "records": 12, "queries": 4, "far_frac": 0.5},
        "easier": [{"until": 1, "records": 8, "queries": 4, "far_frac": 0.5}],
    },
    "seq_len": 48,
    "batch_size": 2,
    "steps": 2,
}


def test_every_row_is_there(tmp_path: Path) -> None:
    preset = tmp_path / "small.yaml"
    preset.write_text(json.dumps(SMALL))
    found = eval_kv(str(preset), seeds=1, seed=7, sequences=4, with_full_attention=True)
    assert found["seeds"] == [7]
    assert found["train_cpu_seconds"][0]["full_attention"] > 0
    for name in ROWS:
        assert 0 <= found[name]["far"] <= 1
        assert found[name]["far_per_seed"] == [found[name]["far"]]
        assert found[name]["far_interval"][0] <= found[name]["far"] <= found[name]["far_interval"][1]
    assert found["later_tokens_change_earlier_losses"] == 0
    assert found["chance"] == 1 / 5
    for grid in found["grids"].values():
        assert len(grid["far"][0]) == len(grid["settings"]) >= len(GRID) >= 16
    json.dumps(found, allow_nan=False)
    files = {path.name for path in eval_kv_report.write(found, tmp_path / "out")}
    assert {"kv.csv", "kv.json"} <= files
    assert (tmp_path / "out" / "kv.csv").read_text().splitlines()[1].startswith("meta,")


def test_another_record_keeps_the_records_of_chunk_and_window() -> None:
    usual, other = (_config("kv_cpu", 0, record, None, None) for record in (None, "kv"))
    assert usual == load_config("kv_cpu", {"seed": 0})
    assert (usual.model["window"], usual.model["inner"]["chunk"]) == (24, 24)
    assert (other.model["window"], other.model["inner"]["chunk"]) == (16, 16)
    assert other.model["inner"]["learned_rates"]


@pytest.mark.parametrize("records", [16, 17, 100, 256])
def test_any_number_of_records_that_can_be_far_makes_whole_chunks(records: int) -> None:
    config = _config("kv_cpu", 0, None, records, None)
    assert config.meta is not None
    assert config.meta.kv is not None
    assert (config.meta.kv.records, config.seq_len % 24) == (records, 0)
    assert config.meta.kv.keys >= 2 * records
    assert 32 <= config.meta.kv.queries < 32 + 8


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"records": 15}, "records=15: .* give 16"),
        ({"records": 0}, "records=0: give 1"),
        ({"seeds": 0}, "seeds=0"),
        ({"processes": 0}, "processes=0: give 1"),
        ({"preset": "laptop"}, "not of the KV"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(FastweightsError, match=match):
        eval_kv(**changes)
