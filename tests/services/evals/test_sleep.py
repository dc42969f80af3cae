"""``eval sleep``: the figures of both ways, and of Nano."""

import json

import pytest

from fastweights.cli.main import run
from fastweights.store.root import Store
from tests.small_e2e import save_random_e2e
from tests.small_models import save_random_model

QUICK = ("--sessions", "2", "--facts", "1", "--times", "1", "--train-steps", "10")


def evaluated(store: Store, capsys: pytest.CaptureFixture[str], *line: str) -> dict:
    assert run(["eval", "sleep", *line, "--root", str(store.root), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["tiny_lm", "e2e"])
def test_both_ways_at_equal_cpu(store: Store, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    model = save_random_model(store) if kind == "tiny_lm" else save_random_e2e(store, chunk=64)
    found = evaluated(store, capsys, "--model", model, *QUICK)
    assert (found["facts"], [row["mode"] for row in found["results"]]) == (2, ["delta", "replay"])
    for row in found["results"]:
        bits = row["bits_per_letter"]
        assert min(bits.values()) > 0
        share = (bits["base"] - bits["candidate"]) / (bits["base"] - bits["adapted"])
        assert row["closed"] == (pytest.approx(share) if bits["base"] > bits["adapted"] else None)
        assert row["core_rise"] == row["core_after"] - row["core_before"]
        assert row["steps"] > 0


def test_of_nano(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluated(store, capsys, "--nano", "linear", "--sessions", "2", "--steps", "320")
    (row,) = found["results"]
    assert (found["nano"], found["rule"], found["sessions"], found["steps"]) == ("linear", "rls", 2, 320)
    assert row["mse"]["adapted"] < row["mse"]["candidate"] < row["mse"]["base"]
    assert row["retention"] > 0.05
    assert row["core_rise"] < 0.01 * row["core_before"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("--nano", "linear", "--facts", "3"), "facts 3: that is for text sessions"),
        (("--rule", "rls"), "rule rls: that is for Nano sessions"),
        (("--nano", "linear", "--steps", "3"), "steps"),
        (("--sessions", "0"), "sessions=0"),
    ],
)
def test_wrong_calls(store: Store, capsys: pytest.CaptureFixture[str], line: tuple[str, ...], said: str) -> None:
    assert run(["eval", "sleep", *line, "--root", str(store.root)]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
