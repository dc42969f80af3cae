"""Machine code on disk follows the sources that it was made of, the ones of other files too."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import fastweights

PACKAGE = Path(fastweights.__file__).parent
CALLER = """
from callee import FACTOR, part
from fastweights.layers.compiled import compiled

@compiled
def whole(x):
    return FACTOR * part(x)
"""
CALLEE = """
from fastweights.layers.compiled import compiled
FACTOR = {factor}

@compiled
def part(x):
    return x + {more}
"""


def test_what_a_kept_function_calls_is_compiled_again_when_it_changes(tmp_path: Path) -> None:
    def whole_of_1(factor: int, more: int) -> list[str]:
        """And how often it was found on disk."""
        (tmp_path / "callee.py").write_text(CALLEE.format(factor=factor, more=more))
        env = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
        env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])
        code = "from caller import whole; print(whole(1), sum(whole.stats.cache_hits.values()))"
        run = [sys.executable, "-c", code]
        return subprocess.run(run, env=env, capture_output=True, text=True, check=True).stdout.split()

    (tmp_path / "caller.py").write_text(CALLER)
    assert whole_of_1(1, 1) == ["2", "0"]
    assert whole_of_1(1, 1) == ["2", "1"]
    assert whole_of_1(3, 5) == ["18", "0"]


def test_compiled_functions_take_from_their_own_folder_alone() -> None:
    """Else a change there would go unseen."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        found = [
            f for f in tree.body if isinstance(f, ast.FunctionDef) and "compiled" in map(ast.unparse, f.decorator_list)
        ]
        taken = {n.id for f in found for n in ast.walk(f) if isinstance(n, ast.Name)}
        here = ".".join(["fastweights", *path.parent.relative_to(PACKAGE).parts])
        for line in tree.body:
            if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("fastweights"):
                ours = {alias.asname or alias.name for alias in line.names} - {"compiled"}
                assert (line.module or "").rpartition(".")[0] == here or not ours & taken, (path, line.module)
