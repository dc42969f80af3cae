"""``eval meta-text`` in small: both runs use the budget, every row and gain is there, and off means off."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastweights.cli.main import run
from fastweights.errors import FastweightsError
from fastweights.services.evals.meta_text import GAINS, READS, ROWS, eval_meta_text

SMALL: dict[str, Any] = {
    "model": {
        "kind": "e2e",
        "dim": 8,
        "heads": 2,
        "layers": 2,
        "window": 16,
        "init_std": 0.3,
        "inner": {"chunk": 16, "lr": 0.5, "learned_rates": True, "clip": None},
    },
    "meta": {"plain": 0.5, "inner_warmup": 0},
    "optim": {"rule": "muon"},
    "corpus": "tiny",
    "seq_len": 64,
    "batch_size": 1,
}

STEPS = ("plain_steps", "meta_steps_plain", "meta_steps")


def _file(tmp_path: Path, **changes: Any) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps({**SMALL, **changes}))
    return str(path)


def test_all_of_it(tmp_path: Path) -> None:
    found = eval_meta_text(_file(tmp_path), cpu_seconds=0.4, seeds=2, scored_bytes=512, tuning_bytes=256)
    training = found["training"]
    assert all(seconds >= 0.4 for name in ("plain", "meta") for seconds in training[f"{name}_cpu_seconds"])
    for plain, before, learning in zip(*(training[name] for name in STEPS), strict=True):
        assert plain > before > 0
        assert learning > 0
    for read in READS:
        assert all(0 < found[read][row]["mean"] < 12 for row in ROWS)
        for name, (old, new) in GAINS.items():
            gain, values = found[read]["gains"][name], (found[read][row]["values"] for row in (old, new))
            assert gain["values"] == [one - other for one, other in zip(*values, strict=True)]
            assert gain["half_width"] >= 0
    for row in ("meta_off", "plain_off"):
        assert found["stream"][row] == found["stream_forgetting"][row]
    assert [len(found["curves"][read]["meta_on"]) for read in ("windows", "stream")] == [4, 8]
    assert len(found["rates"]["meta"][0]) == 3
    json.dumps(found, allow_nan=False)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--cpu-seconds", "0.1", "--seeds", "1", "--scored-bytes", "256", "--tuning-bytes", "256"]
    assert run(["eval", "meta-text", "--preset", _file(tmp_path), *flags, "--out", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    assert all(name.replace("_", " ") in table for name in (*ROWS, *READS))
    assert set(ROWS) <= json.loads((tmp_path / "out" / "meta_text.json").read_text())["windows"].keys()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"cpu_seconds": 0}, "cpu_seconds"),
        ({"cpu_seconds": float("nan")}, "cpu_seconds"),
        ({"seeds": 0}, "seeds"),
        ({"scored_bytes": 255}, "scored_bytes"),
        ({"scored_bytes": 10**9}, "scored_bytes"),
        ({"preset": "kv_cpu"}, "does not meta-learn text"),
        ({"preset": "pretrain_8k"}, "does not meta-learn text"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path: Path, fields: dict[str, Any], word: str) -> None:
    how = {"preset": _file(tmp_path), "scored_bytes": 256, "tuning_bytes": 256, "cpu_seconds": 0.1, **fields}
    with pytest.raises(FastweightsError, match=word):
        eval_meta_text(how.pop("preset"), **how)
