"""``fsck`` of ``redteam/``: a damaged or cut-off run is named; nothing of it is touched."""

import os
from pathlib import Path

import psutil
import pytest

from fastweights.store import atomic
from fastweights.store.fsck import fsck
from fastweights.store.root import Store


@pytest.fixture
def folder(store: Store) -> Path:
    path = store.path("redteam", "redteam-1")
    atomic.ensure_dir(path / "payloads")
    atomic.write_json(path / "payloads" / "drip-0.json", {"name": "drip-0"})
    atomic.write_bytes(path / "report.html", b"<p>")
    files = [str(path / name) for name in ("report.html", "report.json")]
    atomic.write_json(path / "report.json", {"run_id": "redteam-1", "files": files})
    return path


def test_a_whole_run_is_counted(store: Store, folder: Path) -> None:
    report = fsck(store)
    assert (report.findings, report.checked["runs"]) == ([], 1)


@pytest.mark.parametrize(
    ("name", "content", "level", "says"),
    [
        ("report.json", b'{"run_id": "redteam-1", "fam', "error", "truncated"),
        ("report.json", b"", "error", "empty"),
        ("report.json", b"[]", "error", "list"),
        ("report.json", b'{"run_id": "redteam-2"}', "error", "redteam-2"),
        ("payloads/drip-0.json", b'{"name": ', "error", "truncated"),
        ("job.json", b"{", "error", "truncated"),
        ("report.html", b"", "warning", "empty"),
        ("report.html", None, "warning", "missing"),
        ("report.json", None, "note", "cut off"),
    ],
)
def test_damage_is_named(store: Store, folder: Path, name: str, content: bytes | None, level: str, says: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    for repair in (False, True):
        (finding,) = fsck(store, repair=repair).findings
        assert finding.level == level
        assert says in finding.problem
        assert finding.path.startswith("redteam/redteam-1")
        assert (name in finding.path) == (level != "note")
        assert not finding.repaired


def test_a_run_under_way_is_left_alone(store: Store, folder: Path) -> None:
    (folder / "report.json").unlink()
    atomic.write_json(folder / "job.json", {"pid": os.getpid(), "create_time": psutil.Process().create_time()})
    assert fsck(store).findings == []
    atomic.write_json(folder / "job.json", {"pid": 999_999_999, "create_time": 1.0})
    assert [finding.level for finding in fsck(store).findings] == ["note"]
