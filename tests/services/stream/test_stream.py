"""``demo stream``: measured, kept, and true to the task of a KV model."""

import json
from pathlib import Path

import pytest

from fastweights.cli import main
from fastweights.errors import FastweightsError
from fastweights.services import meta
from fastweights.services.stream.measure import demo_stream
from fastweights.services.stream.records import StreamRequest
from fastweights.services.stream.reports import reports
from fastweights.store.root import Store
from tests.small_models import save_random_model
from tests.train.test_meta import _file

SMALL = {"dim": 16, "heads": 2, "layers": 2, "context_len": 200, "query_len": 60, "window_size": 16, "chunk_size": 32}


def test_a_report(store: Store) -> None:
    said: list[str] = []
    report = demo_stream(store, StreamRequest.model_validate(SMALL), said.append)
    assert reports(store) == [report]
    assert [point.context for point in report.points] == [32, 64, 128, 224]
    assert len({point.state_bytes for point in report.points}) == 1
    assert all(point.ms_per_token > point.update_ms_per_token > 0 for point in report.points)
    caches = [point.full_attention_state_bytes for point in report.points]
    assert caches == [2 * 4 * 16 * 2 * context for context in (32, 64, 128, 224)]
    assert report.updates == 8
    assert report.parity < 1e-4
    assert "sub-blocks of the window" in (report.notice or "")
    assert said == [f"notice: {report.notice}"]
    assert report.query.loss < report.query_off.loss  # fresh weights learn which letters are common


def test_of_a_kv_model_its_task_is_read(store: Store, tmp_path: Path) -> None:
    meta.start(store, _file(tmp_path, "kv"), {"steps": 1}, model_id="kv")
    report = demo_stream(store, StreamRequest(model="kv", full_attention=False))
    assert (report.model, report.source, report.context_len, report.query_len) == ("kv", "kv", 60, 12)
    assert (report.full_attention_ratio, report.notice) == (None, None)
    assert report.query.accuracy in (0, 0.25, 0.5, 0.75, 1)  # of the four values that are asked for
    with pytest.raises(FastweightsError, match="context-len 61"):
        demo_stream(store, StreamRequest(model="kv", context_len=61))
    with pytest.raises(FastweightsError, match="records=100"):
        demo_stream(store, StreamRequest(model="kv", context_len=300))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"context_len": 100_000}, "corpus 'tiny' has"),
        ({"chunk_size": 1024}, "give at least a chunk"),
        ({"heads": 3}, "heads=3"),
        ({"suffix_layers": 3}, "suffix_layers=3"),
        ({"model": "tiny"}, "kind 'tiny_lm'"),
    ],
)
def test_what_does_not_fit(store: Store, changes: dict, match: str) -> None:
    save_random_model(store, "tiny")
    with pytest.raises(FastweightsError, match=match):
        demo_stream(store, StreamRequest.model_validate({**SMALL, **changes}))
    assert reports(store) == []


def test_the_command(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    line = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert main.run(["demo", "stream", f"--root={store.root}", "--json", *line]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == reports(store)[0].model_dump()
    assert printed.err.startswith("notice: window 16")
    assert main.run(["demo", "stream", f"--root={store.root}", "--quiet", "--no-full-attention", *line]) == 0
    printed = capsys.readouterr()
    assert "query: accuracy" in printed.out
    assert printed.err == ""
