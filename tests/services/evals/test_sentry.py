"""``eval sentry``: its figures are those of the monitor, seeded, and say what was not measured."""

import json
from pathlib import Path

import pytest

from fastweights.cli.main import run
from fastweights.cli.policies import named_policy
from fastweights.errors import FastweightsError
from fastweights.redteam.payloads import FAMILIES
from fastweights.services.evals.sentry import SIZES, SentryRequest, default_texts, evaluate, named_paths
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import build_monitor
from fastweights.services.monitor_records import MonitorOptions
from fastweights.store.root import Store
from tests.services.test_monitor import BENIGN

_BORDER = {"border_phrases", "border_spellings"}


@pytest.fixture
def essay(tmp_path: Path) -> Path:
    path = tmp_path / "essay.txt"
    path.write_text(BENIGN, encoding="utf-8")
    return path


def test_the_figures_are_the_monitors_own(store: Store, essay: Path) -> None:
    pool = ModelPool(store)
    report = evaluate(pool, SentryRequest(benign={"essay": essay}, payloads=1))
    assert report.missing == []
    assert {(one.family, one.chunk_tokens) for one in report.families} == {
        (name, size) for name in {*FAMILIES, *_BORDER} for size in SIZES
    }
    for one in [*report.families, *report.look_alikes]:
        assert one.n == (4 if one.family == "look_alikes" else 1)
        assert one.detection.value == one.refused / one.n
    assert sum(one.refused for one in report.families) >= 0.9 * len(report.families)
    assert sum(one.refused for one in report.look_alikes) <= 1
    for row in report.texts:
        for updates, loss in ((True, row.loss), (False, row.loss_no_updates)):
            options = MonitorOptions(chunk_tokens=row.chunk_tokens, updates=updates)
            own = Monitor(build_monitor(pool, options), options)
            assert len(list(own.read([BENIGN.encode()]))) == row.chunks
            assert own.summary().loss_mean == pytest.approx(loss, abs=1e-4)  # frozen: whatever the chunk size
        assert row.learning_gain == pytest.approx(row.loss_no_updates - row.loss)
        assert row.learning_gain > 0
        assert row.bytes == len(BENIGN.encode())


def test_a_policy_that_refuses_nothing_detects_nothing(store: Store, essay: Path) -> None:
    request = SentryRequest(policy=named_policy("observe"), benign={"essay": essay}, payloads=1, max_bytes=200)
    report = evaluate(ModelPool(store), request)
    assert {one.refused for one in [*report.families, *report.look_alikes]} == {0}
    assert {row.bytes for row in report.texts} == {200}


def test_one_json_document_and_clear_errors(
    store: Store, essay: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*line: str) -> tuple[int, str, str]:
        code = run(["eval", "sentry", *line, "--payloads", "1", "--max-bytes", "300", "--root", str(store.root)])
        out, err = capsys.readouterr()
        return code, out, err

    code, out, err = call("--model", "toy", "--benign", f"essay={essay}", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["texts"][0]["path"] == str(essay)
    assert not (store.root / "text_runs").exists()  # an evaluation leaves no runs behind
    for line, says in (
        (["--benign", "a=/nowhere"], "/nowhere"),
        (["--benign", "=x"], "NAME=PATH"),
        (["--model", "gone", "--benign", f"e={essay}"], "gone"),
    ):
        code, out, err = call(*line, "--quiet")
        assert (code, out) == (2, "")
        assert says in err
    (tmp_path / "blank").write_text("  \n")
    code, _, err = call("--benign", f"blank={tmp_path / 'blank'}", "--quiet")
    assert code == 2
    assert "blank" in err


def test_defaults_are_named_or_said_to_be_missing() -> None:
    texts, missing = default_texts()
    assert all(path.is_file() for path in texts.values())
    kinds = {*texts, *(line.partition(":")[0] for line in missing)}
    assert kinds == {"play", "python", "prose", "markdown", "chinese"}
    assert "--benign chinese=PATH" in missing[-1]
    assert named_paths(["a=b/c", "d/e.txt"]) == {"a": Path("b/c"), "e.txt": Path("d/e.txt")}
    with pytest.raises(FastweightsError, match="twice"):
        named_paths(["a=x", "a=y"])
