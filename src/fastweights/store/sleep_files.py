"""Sleep's files: ``sleep_manifest.json`` beside a candidate's weights, and ``sleep/<model id>/`` of a run that a server
started (``job.json``, ``request.json``, ``stdout.log``, ``stderr.log``). What ``fsck`` knows of them. Torch-free.

A candidate is written in this order: its files, then the record that makes it one (a text model's ``manifest.json``, of
Nano ``sleep.json``). So a run that is killed leaves no candidate, and its base is never written.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from fastweights.errors import FastweightsError
from fastweights.store import atomic
from fastweights.store.root import Store

SLEEP, SLEEP_MANIFEST = "sleep", "sleep_manifest.json"
JOB, REQUEST = "job.json", "request.json"
Problem = tuple[Literal["error", "warning", "note"], Path, str]


def check_candidate(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Problem]:
    """Of a model that a sleep made (its manifest has ``sleep``): the evidence is there, and is of these weights."""
    if not manifest.get("sleep"):
        return
    path = folder / SLEEP_MANIFEST
    try:
        evidence = atomic.read_json(path)
    except FastweightsError as error:
        yield "error", path, f"{error}; reject the candidate, or sleep again"
        return
    if evidence.get("checkpoint_sha256") != manifest.get("checkpoint_sha256"):
        yield "error", path, "is of other weights than the model has: reject the candidate, or sleep again"


def check_sleep_job(store: Store, model_id: str) -> Iterator[Problem]:
    """A run that a server started: its records parse."""
    folder = store.path(SLEEP, model_id)
    for name in (JOB, REQUEST):
        try:
            atomic.read_json(folder / name)
        except FastweightsError as error:
            yield "note", folder / name, f"{error}; delete the folder {folder}"
