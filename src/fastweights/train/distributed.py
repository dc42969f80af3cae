"""The processes of one run: who is first, what they agree on, and how one learns that another has died.

Started by ``torchrun``; gloo between CPUs, nccl between GPUs (beside gloo, for numbers that live on the CPU). A single
process is a world of one, with or without a process group.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from fastweights.errors import FastweightsError, Unsupported
from fastweights.models.device import pick_device

T = TypeVar("T")
_KNOWN = (  # what torch says about one process, and about outputs that nobody changes in place
    "FSDP is switching to use `NO_SHARD`",
    "When using ``NO_SHARD``",
    "FSDP2-wrapped module",
)
_LOST = ("gloo", "nccl", "closed by peer", "connection reset", "broken pipe", "socket", "tcpstore")


class LostPeer(FastweightsError):
    """Another process of the run is gone; the checkpoints stay."""

    exit_code = 1


@dataclass(frozen=True)
class World:
    """This process among those of a run. ``strategy``: none, fsdp (classic) or fsdp2 (``fully_shard``)."""

    rank: int = 0
    size: int = 1
    strategy: str = "none"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        return self.strategy != "none"

    def agree(self, work: Callable[[], T]) -> T:
        """``work`` of the first process: what it returns, or raises, is what every process gets."""
        if self.size == 1:
            return work()
        box: list[Any] = [None, None]
        if self.first:
            try:
                box[0] = work()
            except FastweightsError as error:
                box[1] = error
            except Exception as error:
                box[1] = FastweightsError(f"{type(error).__name__}: {error}")
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        if box[1] is not None:
            raise box[1]
        return box[0]

    def total(self, value: float) -> float:
        """Sum over the processes."""
        if self.size == 1:
            return value
        box = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(box)
        return float(box)

    def mean_(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the processes, in place, on the device where ``values`` is."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextmanager
def join(strategy: str, device: str | None) -> Iterator[World]:
    """The world that ``torchrun`` started this process in (or one of its own), for the length of a run.

    Raises ``Unsupported`` for several processes without a strategy; :class:`LostPeer` where another process died.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if strategy == "none":
        if size > 1:
            raise Unsupported(
                f"strategy none trains in one process, not in {size}: give --strategy fsdp or fsdp2, or call "
                "it without torchrun"
            )
        yield World(device=pick_device(device))
        return
    if not dist.is_available():
        raise Unsupported(f"strategy {strategy}: this build of torch has no torch.distributed; use --strategy none")
    world = World(int(os.environ.get("RANK", "0")), size, strategy, _device(device))
    _start(world)
    try:
        with peers(world), warnings.catch_warnings():
            for text in _KNOWN:
                warnings.filterwarnings("ignore", message=text)
            yield world
            world.barrier()  # without it, a process that is done pulls the store from under the others
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


def _device(name: str | None) -> torch.device:
    device = pick_device(name)
    if device.type == "mps":
        raise Unsupported("device mps: sharded training runs on cpu or cuda; give --device cpu")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


def _start(world: World) -> None:
    backend = "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo"
    if "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        from torch._C._distributed_c10d import HashStore

        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)


@contextmanager
def peers(world: World) -> Iterator[None]:
    """An error of the wire becomes :class:`LostPeer`: another process has ended."""
    try:
        yield
    except FastweightsError:
        raise
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if world.size > 1 and any(word in text.lower() for word in _LOST):
            raise LostPeer(
                f"process {world.rank} of {world.size}: another process of this run has ended ({text[:120]}); its own "
                "error is above; go on from the last checkpoint with --resume"
            ) from None
        raise
