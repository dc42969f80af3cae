"""Checkpoints of a run: ``step-XXXXXXXX.safetensors`` (tensors and JSON metadata) and a sidecar with its SHA-256.

A sharded run writes a folder ``step-XXXXXXXX`` (torch.distributed.checkpoint, a file a process) instead; its sidecar
holds the metadata and the SHA-256 of every file. A checkpoint counts once its sidecar is there; the sidecar is written
last. The last two are kept, so that a damaged last one leaves one to fall back on.
"""

import hashlib
import json
import re
import shutil
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
    """``tensors``: flat names; ``meta``: JSON. ``notices``: newer checkpoints that could not be used, and why.

    ``shards``: the folder of a sharded checkpoint, checked but not read (``shards.py`` does); then no ``tensors``.
    """

    step: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]
    notices: tuple[str, ...] = ()
    shards: Path | None = None


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], meta: dict[str, Any], run: dict[str, Any] | None = None
) -> Path:
    """Write a checkpoint durably, then drop all but the last two. Non-finite tensors are refused by name.

    ``run`` goes into the sidecar: what differs between equal runs (whose it is, its CPU time). :func:`load_checkpoint`
    puts it back into ``meta["run"]``.
    """
    path = _stem(folder, step).with_suffix(".safetensors")
    sha = save_tensors(path, tensors, {"checkpoint": json.dumps(meta)})
    finish(folder, step, {"sha256": sha, "bytes": path.stat().st_size}, run)
    return path


def finish(folder: Path, step: int, sidecar: dict[str, Any], run: dict[str, Any] | None = None) -> None:
    """Write the sidecar of a checkpoint whose files are there, then drop all but the last two."""
    atomic.write_json(
        _stem(folder, step).with_suffix(".json"), {"step": step, **sidecar, **({"run": run} if run else {})}
    )
    for old in checkpoint_steps(folder)[KEEP:]:
        clear(folder, old)


def clear(folder: Path, step: int) -> None:
    """Remove what there is of a checkpoint, the sidecar first."""
    stem = _stem(folder, step)
    for suffix in (".json", ".safetensors"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
    if stem.is_dir():
        shutil.rmtree(stem)


def _stem(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


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
        try:
            return _read(folder, step, tuple(notices))
        except (FastweightsError, KeyError, TypeError, ValueError) as error:
            notices.append(f"checkpoint of step {step} is damaged and passed over: {error}")
    raise Corrupt(f"every checkpoint in {folder} is damaged; the newest: {notices[0]}")


def _read(folder: Path, step: int, notices: tuple[str, ...]) -> Checkpoint:
    stem, tensors, shards = _stem(folder, step), {}, None
    sidecar = atomic.read_json(stem.with_suffix(".json"))
    if "files" in sidecar:
        shards, meta = stem, dict(sidecar["meta"])
        for name, sha in sidecar["files"].items():
            if (found := file_sha256(stem / name)) != sha:
                raise Corrupt(f"{str(stem / name)!r} has SHA-256 {str(found)[:12]}…, not {sha[:12]}…")
    else:
        tensors, packed = load_tensors(stem.with_suffix(".safetensors"), expect_sha256=str(sidecar.get("sha256")))
        meta = json.loads(packed["checkpoint"])
    if run := sidecar.get("run"):
        meta["run"] = {**meta.get("run", {}), **run}
    return Checkpoint(step, tensors, meta, notices, shards)


def file_sha256(path: Path) -> str | None:
    """Of a file of any size; ``None`` where there is none."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def checkpoint_run(folder: Path) -> dict[str, Any]:
    """What the newest checkpoint in ``folder`` says of its run (whose it is, its strategy); empty where unknown."""
    try:
        sidecar = atomic.read_json(_stem(folder, checkpoint_steps(folder)[0]).with_suffix(".json"))
        return dict(sidecar["run"])
    except (FastweightsError, LookupError, TypeError, ValueError):  # none, damaged, or of an older version
        pass
    try:
        return load_checkpoint(folder).meta["run"]
    except (FastweightsError, LookupError, TypeError):
        return {}


def checkpoint_owner(folder: Path) -> str | None:
    """The model whose newest whole checkpoint lies in ``folder``; ``None`` if there is none."""
    return checkpoint_run(folder).get("model_id")
