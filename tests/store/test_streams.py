"""``streams/``: reports come back as they were written; a damaged one is left out, and named by ``fsck``."""

import pytest

from fastweights.errors import FastweightsError
from fastweights.services.stream.reports import reports
from fastweights.store.fsck import fsck
from fastweights.store.root import Store
from fastweights.store.streams import keep_stream
from tests.small_streams import stream_report


def test_reports_newest_first(store: Store) -> None:
    assert reports(store) == []
    made = [stream_report(f"stream-{n}", f"2026-01-0{n}") for n in (2, 3, 1)]
    for one in made:
        keep_stream(store, one.model_dump())
    assert reports(store) == [made[1], made[0], made[2]]
    assert (fsck(store).findings, fsck(store).checked["runs"]) == ([], 3)


def test_a_damaged_report(store: Store) -> None:
    path = keep_stream(store, stream_report("whole").model_dump())
    keep_stream(store, stream_report("old").model_dump(exclude={"points"}))
    path.with_name("report.json").write_bytes(path.read_bytes()[:40])
    assert reports(store) == []
    assert [finding.level for finding in fsck(store).findings] == ["error"]


def test_an_id_stays_inside(store: Store) -> None:
    with pytest.raises(FastweightsError, match="stream id"):
        keep_stream(store, {"stream_id": "../x"})
