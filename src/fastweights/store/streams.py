"""Reports of ``demo stream``: ``streams/<stream_id>/report.json``. Torch-free."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastweights.errors import FastweightsError
from fastweights.store import atomic
from fastweights.store.index import folder_ids
from fastweights.store.root import Store, check_id

STREAMS = "streams"
_REPORT = "report.json"


def keep_stream(store: Store, report: Mapping[str, Any]) -> Path:
    """Writes a report under its ``stream_id``."""
    folder = store.path(STREAMS, check_id("stream", report["stream_id"]))
    atomic.ensure_dir(folder)
    atomic.write_json(folder / _REPORT, dict(report))
    return folder / _REPORT


def streams(store: Store) -> Iterator[dict[str, Any]]:
    """Every report, oldest first; a damaged one is left out (``fsck`` names it)."""
    for name in folder_ids(store, STREAMS):
        with suppress(FastweightsError):
            yield atomic.read_json(store.path(STREAMS, name, _REPORT))


def check_stream(store: Store, stream_id: str) -> Iterator[tuple[Literal["error", "warning", "note"], Path, str]]:
    """For ``fsck``: (level, path, problem)."""
    path = store.path(STREAMS, stream_id, _REPORT)
    try:
        found = atomic.read_json(path).get("stream_id")
    except FastweightsError as error:
        yield "error", path, f"{error}; delete the folder and run `fastweights demo stream` again"
        return
    if found != stream_id:
        yield "error", path, f"says stream {found!r}: it belongs to another folder"
