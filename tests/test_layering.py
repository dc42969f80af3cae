"""Who may import whom: walks every import of the package, also those inside functions, and holds it to the table."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "fastweights"

# Lower rungs first; a package may import rungs below its own, and itself. Packages on one rung never import each other.
RUNGS: tuple[tuple[str, ...], ...] = (
    ("errors", "hints", "clock"),
    ("core",),
    ("data",),
    ("layers", "guard", "store"),
    ("models",),
    ("train", "redteam", "evals"),
    ("services",),
    ("server",),
    ("cli",),  # above the server for one reason: the verb `up` starts it
)
RUNG = {name: level for level, names in enumerate(RUNGS) for name in names}
SHARED = {"errors", "hints", "clock"}  # one rung, but plain tools: hints raises errors
TORCH_FREE = ("store", "server", "cli", "services")  # packages that may not load torch when imported


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        yield ".".join(("fastweights", *parts)), path


def _imports(path: Path) -> Iterator[str]:
    """Dotted names of everything imported, ``from a.b import c`` as ``a.b.c``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room(dotted: str) -> str:
    return dotted.split(".")[1] if "." in dotted else ""


def test_every_module_has_a_rung() -> None:
    rooms = {_room(name) for name, _ in _modules()} - {"", "presets", "__main__"}
    assert rooms <= RUNG.keys(), f"give {sorted(rooms - RUNG.keys())} a place in RUNGS"


def test_imports_go_downwards() -> None:
    wrong = []
    for name, path in _modules():
        room = _room(name)
        if room not in RUNG:
            continue
        for target in _imports(path):
            if not target.startswith("fastweights."):
                continue
            other = _room(target)
            if other not in RUNG or other == room or {room, other} <= SHARED:
                continue
            if RUNG[other] >= RUNG[room]:
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_core_knows_torch_only() -> None:
    outside = {
        (name, target.split(".")[0])
        for name, path in _modules()
        if _room(name) == "core"
        for target in _imports(path)
        if target.split(".")[0] not in {"torch", "fastweights", *sys.stdlib_module_names}
    }
    assert not outside


def test_package_inits_are_empty() -> None:
    full = [str(p) for p in PACKAGE.rglob("__init__.py") if p.read_text(encoding="utf-8").strip()]
    assert not full


def test_command_line_and_server_reach_models_through_services_only() -> None:
    """From below services, cli and server take only modules that load without torch."""
    below = {
        target
        for name, path in _modules()
        if _room(name) in ("cli", "server")
        for target in _imports(path)
        if target.startswith("fastweights.") and _room(target) not in ("cli", "server", "services")
    }
    known = dict(_modules())
    modules = {t if t in known else t.rpartition(".")[0] for t in below}
    assert _loads_torch(sorted(modules)) == []


@pytest.mark.parametrize("room", TORCH_FREE)
def test_loads_without_torch(room: str) -> None:
    names = [name for name, _ in _modules() if _room(name) == room]
    assert _loads_torch(names) == []


def test_configs_load_without_torch() -> None:
    names = [name for name, _ in _modules() if name.endswith(("config", "policy", "event", "records"))]
    assert len(names) >= 4
    assert _loads_torch(names) == []


def _loads_torch(modules: list[str]) -> list[str]:
    """Those of ``modules`` whose import brings torch with it, in a fresh interpreter."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    if 'torch' in sys.modules:\n"
        "        print(name); break\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *modules], capture_output=True, text=True, check=True)
    return done.stdout.split()
