"""Nano's files outside of sessions: ``base/<mode>/`` and ``nano_runs/<id>/``, and what ``fsck`` knows of them.

Torch-free.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import orjson

from fastweights.errors import Corrupt, FastweightsError
from fastweights.store import atomic, tensors
from fastweights.store.objects import sha256
from fastweights.store.root import Store
from fastweights.store.sleep_files import check_candidate

METRICS = "metrics.json"
BASE, NANO_RUNS = "base", "nano_runs"
CHECKPOINT, META = "base_checkpoint.safetensors", "base_meta.json"
CANDIDATE = "sleep.json"
REQUEST, PER_STEP, UPDATES, SUMMARY, PLOT = (
    "request.json",
    "per_step.csv",
    "update_events.json",
    "summary.json",
    "plot.png",
)
Problem = tuple[Literal["error", "warning", "note"], Path, str]
"""Level as in ``fsck``, path, what is wrong."""


def check_base(store: Store, mode: str) -> Iterator[Problem]:
    """A base model: its record, and the checkpoint that the record vouches for; of a sleep candidate its evidence."""
    again = f"`fastweights nano pretrain --mode {mode}` makes it anew"
    meta, checkpoint = store.path(BASE, mode, META), store.path(BASE, mode, CHECKPOINT)
    if not meta.exists():
        yield "note", meta, f"missing: making the base model was cut off; {again}"
        return
    try:
        record = atomic.read_json(meta)
        data = atomic.read_bytes(checkpoint)
        tensors.unpack(data, repr(str(checkpoint)))
    except FastweightsError as error:
        yield "error", meta.parent, f"{error}; {again}"
        return
    if (path := store.path(BASE, mode, CANDIDATE)).exists():
        try:
            yield from check_candidate(meta.parent, atomic.read_json(path))
        except FastweightsError as error:
            yield "error", path, f"{error}; delete the folder, and sleep again"
    if (found := sha256(data)) != (said := record.get("checkpoint_sha256")):
        yield "error", checkpoint, f"has SHA-256 {found[:12]}…, its record says {str(said)[:12]}…; {again}"


def check_nano_run(store: Store, run_id: str) -> Iterator[Problem]:
    """A single run: ``summary.json`` comes last and names the files."""
    folder = store.path(NANO_RUNS, run_id)
    summary = folder / SUMMARY
    if not summary.exists():
        yield "note", folder, f"no {SUMMARY}: the run was cut off; delete the folder, or run it again"
        return
    try:
        record = atomic.read_json(summary)
        atomic.read_json(folder / REQUEST)
        _check_array(folder / UPDATES)
        rows = atomic.read_bytes(folder / PER_STEP).count(b"\n") - 1
    except FastweightsError as error:
        yield "error", folder, f"{error}; delete the folder and run it again"
        return
    if record.get("run_id") != run_id:
        yield "error", summary, f"says run {record.get('run_id')!r}: it belongs to another folder"
    if rows != (steps := (record.get("request") or {}).get("steps")):
        yield "error", folder / PER_STEP, f"has {rows} rows, the run has {steps} steps; run it again"
    if any(Path(str(file)).name == PLOT for file in record.get("files") or []) and not (folder / PLOT).is_file():
        yield "warning", folder / PLOT, f"missing; {PER_STEP} has the figures"


def _check_array(path: Path) -> None:
    try:
        value = orjson.loads(atomic.read_bytes(path))
    except orjson.JSONDecodeError as error:
        raise Corrupt(f"{str(path)!r} is truncated or not JSON: {error}") from None
    if not isinstance(value, list):
        raise Corrupt(f"{str(path)!r} holds a JSON {type(value).__name__} where an array belongs")
