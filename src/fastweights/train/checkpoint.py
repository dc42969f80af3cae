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


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Write a checkpoint durably, then drop all but the last two. Non-finite tensors are refused by name."""
    path = folder / f"step-{step:08d}.safetensors"
    sha = save_tensors(path, tensors, {"checkpoint": json.dumps(meta)})
    atomic.write_json(path.with_suffix(".json"), {"step": step, "sha256": sha, "bytes": path.stat().st_size})
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
            tensors, meta = load_tensors(path, expect_sha256=str(sidecar.get("sha256")))
            return Checkpoint(step, tensors, json.loads(meta["checkpoint"]), tuple(notices))
        except (FastweightsError, KeyError, ValueError) as error:
            notices.append(f"checkpoint of step {step} is damaged and passed over: {error}")
    raise Corrupt(f"every checkpoint in {folder} is damaged; the newest: {notices[0]}")
