"""Checkpoints of a run: ``step-XXXXXXXX.safetensors`` (tensors and JSON metadata) and a sidecar with its SHA-256.

A checkpoint counts once its sidecar is there; the sidecar is written last. The last two are kept, so that a damaged
last one leaves one to fall back on.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.tensors import load_tensors, save_tensors

KEEP = 2
_NAME = re.compile(r"step-(\d{8})\.json")


@dataclass(frozen=True)
class Checkpoint:
    """``tensors``: flat names; ``meta``: JSON. ``notices``: newer checkpoints that could not be used, and why."""

    step: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    notices: tuple[str, ...] = ()


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], meta: dict[str, Any], run: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint durably, then drop all but the last two. Non-finite tensors are refused by name.

    ``run`` goes into the sidecar: what differs between equal runs (whose it is, its CPU time). :func:`load_checkpoint`
    puts it back into ``meta["run"]``.
    """
    path = folder / f"step-{step:08d}.safetensors"
    sha = save_tensors(path, tensors, {"checkpoint": json.dumps(meta)})
    sidecar = {"step": step, "sha256": sha, "bytes": path.stat().st_size, **({"run": run} if run else {})}
    atomic.write_json(path.with_suffix(".json"), sidecar)
    for old in checkpoint_steps(folder)[KEEP:]:
        for suffix in (".json", ".safetensors"):
            (folder / f"step-{old:08d}{suffix}").unlink(missing_ok=True)
    return path


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in ``folder``, newest first."""
    if not folder.is_dir():
        return []
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted((int(match[1]) for match in found if match), reverse=True)


def load_checkpoint(folder: Path) -> Checkpoint:
    """The newest checkpoint that is whole; ``NotFound`` if there is none, ``Corrupt`` if none is whole."""
    steps = checkpoint_steps(folder)
    if not steps:
        raise NotFound(f"no checkpoint in {folder}; the run was stopped before its first, so start it anew")
    notices: list[str] = []
    for step in steps:
        path = folder / f"step-{step:08d}.safetensors"
        try:
            sidecar = atomic.read_json(path.with_suffix(".json"))
            tensors, packed = load_tensors(path, expect_sha256=str(sidecar.get("sha256")))
            meta = json.loads(packed["checkpoint"])
            if run := sidecar.get("run"):
                meta["run"] = {**meta.get("run", {}), **run}
            return Checkpoint(step, tensors, meta, tuple(notices))
        except (FastweightsError, KeyError, TypeError, ValueError) as error:
            notices.append(f"checkpoint of step {step} is damaged and passed over: {error}")
    raise Corrupt(f"every checkpoint in {folder} is damaged; the newest: {notices[0]}")


def checkpoint_owner(folder: Path) -> str | None:
    """The model whose newest whole checkpoint lies in ``folder``; ``None`` if there is none."""
    try:
        sidecar = atomic.read_json(folder / f"step-{checkpoint_steps(folder)[0]:08d}.json")
        return sidecar["run"]["model_id"]
    except (FastweightsError, LookupError, TypeError):  # none, damaged, or of a version that kept it elsewhere
        pass
    try:
        return load_checkpoint(folder).meta["run"]["model_id"]
    except (FastweightsError, LookupError, TypeError):
        return None
