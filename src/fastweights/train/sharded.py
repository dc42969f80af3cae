"""A model in shards over the processes of a run: classic ``FullyShardedDataParallel``, or ``fully_shard``."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor, distribute_tensor

from fastweights.train.distributed import World
from fastweights.train.layout import Whole
from fastweights.train.optim import Optimizers

_FLAT = dcp_state.StateDictOptions(flatten_optimizer_state_dict=True)


class Sharded(Whole):
    """Blocks of the model are units: gathered when they compute, in shards otherwise (ZeRO-3)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mesh = init_device_mesh(world.device.type, (world.size,))

    def place(self, model: nn.Module) -> nn.Module:
        blocks = _blocks(model)
        if self.world.strategy == "fsdp":
            return FullyShardedDataParallel(
                model,
                auto_wrap_policy=ModuleWrapPolicy({type(block) for block in blocks}),
                device_id=self.world.device,
                use_orig_params=True,
                device_mesh=self.mesh,
            )
        for block in blocks:
            fully_shard(block, mesh=self.mesh)
        fully_shard(model, mesh=self.mesh)
        return model

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        return cast("dict[str, Tensor]", dcp_state.get_model_state_dict(model))

    def slots(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
        return self._slots(model, optimizers) if optimizers.single.state else {}

    def _slots(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
        flat = cast("dict[str, Any]", dcp_state.get_optimizer_state_dict(model, optimizers.single, options=_FLAT))
        return {_slot_name(name): value for name, value in flat.items() if name.startswith("state.")}

    def template(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
        weights = {f"model.{n}": t for n, t in self.weights(model).items()}
        return weights | {f"optim.{n}": t for n, t in self._slots(model, optimizers).items()}

    def load(self, model: nn.Module, optimizers: Optimizers, weights: dict[str, Tensor], slots: dict[str, Tensor]):
        own = self.weights(model)
        dcp_state.set_model_state_dict(model, {n: _cut(t, own[n]) for n, t in weights.items()})
        if not slots:
            optimizers.single.state.clear()
            return
        flat = dcp_state.get_optimizer_state_dict(model, optimizers.single, options=_FLAT)
        flat = {n: _cut(slots[_slot_name(n)], v) if n.startswith("state.") else v for n, v in flat.items()}
        dcp_state.set_optimizer_state_dict(model, optimizers.single, flat, options=_FLAT)

    def norm(self, grads: list[Tensor]) -> Tensor:
        local = torch.nn.utils.get_total_norm([g.to_local() if isinstance(g, DTensor) else g for g in grads])
        if self.world.size == 1:
            return local
        squared = local.square()
        torch.distributed.all_reduce(squared)
        return squared.sqrt()

    def full(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        for name, value in sorted(self.weights(model).items()):  # gathered by all processes in the same order
            yield name, value.full_tensor() if isinstance(value, DTensor) else value

    def local(self, model: nn.Module) -> AbstractContextManager[Any]:
        if isinstance(model, FullyShardedDataParallel):
            return model.no_sync()
        return _NoSync(model)


class _NoSync:
    """What ``no_sync`` is, for ``fully_shard``."""

    def __init__(self, model: nn.Module) -> None:
        assert isinstance(model, FSDPModule)
        self.model = model

    def __enter__(self) -> None:
        self.model.set_requires_gradient_sync(False)

    def __exit__(self, *error: object) -> None:
        self.model.set_requires_gradient_sync(True)


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The residual blocks: the members of the outermost lists of modules."""
    found: list[nn.Module] = []

    def walk(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList):
                found.extend(child)
            else:
                walk(child)

    walk(model)
    return found


def _cut(tensor: Tensor, like: Any) -> Tensor:
    """This process' part of a whole tensor, laid out as ``like`` is; a part stays as it is."""
    if isinstance(tensor, DTensor) or not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _slot_name(name: str) -> str:
    """``state.<parameter>.<slot>`` as torch writes it -> ``<slot>.<parameter>``."""
    parameter, _, slot = name.removeprefix("state.").rpartition(".")
    return f"{slot}.{parameter}"
