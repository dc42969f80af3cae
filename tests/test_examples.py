"""Every example runs as it is, in an empty store, and prints something; warnings are errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ARTIFACTS_ROOT": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 5
    assert done.stderr == ""


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
