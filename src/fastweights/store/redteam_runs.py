"""What ``fsck`` knows of ``redteam/<run_id>/{report.json,report.html,report.png,payloads/}``. Torch-free.

A run that a server started has ``job.json`` and ``policy.json`` from its first moment; ``report.json`` comes last.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fastweights.errors import FastweightsError
from fastweights.store import atomic
from fastweights.store.locks import process_alive
from fastweights.store.root import Store

REDTEAM = "redteam"
_REPORT, _JOB, _POLICY, _PAYLOADS = "report.json", "job.json", "policy.json", "payloads"


def check_redteam(store: Store, run_id: str) -> Iterator[tuple[Literal["error", "warning", "note"], Path, str]]:
    """(level, path, problem) of each file that is damaged or missing; levels as in ``fsck``."""
    folder = store.path(REDTEAM, run_id)
    files = [folder / name for name in (_JOB, _POLICY) if (folder / name).exists()]
    for path in [*files, *sorted((folder / _PAYLOADS).glob("*.json"))]:
        try:
            atomic.read_json(path)
        except FastweightsError as error:
            yield "error", path, str(error)
    report = folder / _REPORT
    if not report.exists():
        if not _running(folder):
            yield "note", folder, "no report.json: the run was cut off; delete the folder, or run it again"
        return
    try:
        record = atomic.read_json(report)
    except FastweightsError as error:
        yield "error", report, f"{error}; delete the folder and run it again"
        return
    if record.get("run_id") != run_id:
        yield "error", report, f"says run {record.get('run_id')!r}: it belongs to another folder"
    for name in (Path(str(path)).name for path in record.get("files") or []):
        if not (folder / name).is_file() or not (folder / name).stat().st_size:
            yield "warning", folder / name, "missing or empty; report.json has the figures"


def _running(folder: Path) -> bool:
    try:
        job = atomic.read_json(folder / _JOB)
    except FastweightsError:
        return False
    return process_alive(job.get("pid"), job.get("create_time"))
