"""Reports of ``demo stream`` over HTTP."""

from fastweights.store.streams import keep_stream
from tests.small_streams import stream_report


def test_stored_reports_are_listed(client, store) -> None:
    assert client.get("/api/text/streams").json() == []
    report = stream_report("stream-1", full_attention_ratio=5.0)
    keep_stream(store, report.model_dump())
    assert client.get("/api/text/streams").json() == [report.model_dump()]
