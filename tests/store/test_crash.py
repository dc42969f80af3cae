"""kill -9 at every point of every write: an old head or a new one, never an unreadable store."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.store.crash_driver import OPERATIONS


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_kill_at_every_disk_call(tmp_path):
    repo = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "tests.store.crash_driver", str(tmp_path)],
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    rows = {row["operation"]: row for row in map(json.loads, run.stdout.splitlines())}
    assert rows.keys() == {*OPERATIONS}
    for row in rows.values():
        assert row["points"] > (5 if row["operation"] == "tag" else 15), row  # so many different points were hit
        assert row["old"] > row["new"] > 0, row  # the head moves last; after its rename only the lock's release is left
