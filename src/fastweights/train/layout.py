"""How a model lies over the processes of a run: whole in the only one (here), or in shards (``sharded.py``).

State dicts have the same names either way: ``<parameter>`` for weights, ``<slot>.<parameter>`` for optimiser state.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fastweights.train.distributed import World
from fastweights.train.optim import Optimizers


def layout_for(world: World) -> "Whole":
    """The layout of the world's strategy."""
    if not world.sharded:
        return Whole()
    from fastweights.train.sharded import Sharded

    return Sharded(world)


class Whole:
    """Every process has all of the model (there is one process)."""

    def place(self, model: nn.Module) -> nn.Module:
        return model

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        return model.state_dict()

    def slots(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
        """Optimiser state; empty before the first step."""
        return optimizers.state()

    def template(self, model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor] | None:
        """Tensors of the shapes that a sharded checkpoint is read into; ``None``: read it whole."""
        return None

    def load(self, model: nn.Module, optimizers: Optimizers, weights: dict[str, Tensor], slots: dict[str, Tensor]):
        """Take back what :meth:`weights` and :meth:`slots` gave."""
        model.load_state_dict(weights, strict=True)
        optimizers.load(slots)

    def norm(self, grads: list[Tensor]) -> Tensor:
        """Global L2 norm of the gradients."""
        return torch.nn.utils.get_total_norm(grads)

    def local(self, model: nn.Module) -> AbstractContextManager[Any]:
        """For backward passes whose gradients need not be shared yet."""
        return nullcontext()

    def full(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Every tensor of the model, whole, one after the other, in the order of their names."""
        yield from sorted(self.weights(model).items())
