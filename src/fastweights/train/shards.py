"""Sharded checkpoints: every process writes its part, and any number of processes reads them (resharding)."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from fastweights.errors import Corrupt, FastweightsError
from fastweights.train.checkpoint import clear, file_sha256, finish
from fastweights.train.distributed import World


def save_shards(
    world: World, folder: Path, step: int, tensors: dict[str, Tensor], meta: dict[str, Any], run: dict[str, Any]
) -> None:
    """The sharded counterpart of ``save_checkpoint``, called by every process; it counts once all have written."""
    place = folder / f"step-{step:08d}"
    bad = [name for name, tensor in tensors.items() if not _finite(tensor)]
    if world.total(float(len(bad))):
        raise FastweightsError(f"refusing to save step {step}: non-finite values{' in ' + bad[0] if bad else ''}")
    world.agree(lambda: clear(folder, step))
    save(tensors, checkpoint_id=place)
    world.agree(
        lambda: finish(folder, step, {"meta": meta, "files": {p.name: file_sha256(p) for p in place.iterdir()}}, run)
    )


def read_shards(place: Path, template: dict[str, Tensor] | None) -> dict[str, Tensor]:
    """The tensors of a checkpoint: each process' part of them, as ``template`` is laid out, or (``None``) all of them.

    Names of the template that the checkpoint lacks are left out. ``Corrupt`` where a shape differs.
    """
    reader = FileSystemReader(place)
    known = {
        name: entry
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    if template is None:
        state = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in known.items()}
    else:
        state = {name: tensor for name, tensor in template.items() if name in known}
    for name, tensor in state.items():
        if tensor.shape != known[name].size:
            raise Corrupt(f"{place}: tensor {name!r} is {tuple(known[name].size)}, the model has {tuple(tensor.shape)}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(state, storage_reader=reader, no_dist=template is None)
    return state


def _finite(tensor: Tensor) -> bool:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return not local.is_floating_point() or bool(local.isfinite().all())
