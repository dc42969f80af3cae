"""Context nets: small maps ``h' = h + f(h)`` between a frozen backbone and its head, whose weights are fast.

Both start as the identity (f = 0), so a session that has learned nothing answers as the frozen model does.
Shape suffixes: B sequences, T positions, D hidden width, R rank.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.state import Weights

Array = NDArray[np.floating]


class Memory(Protocol):
    """Fast weights between ``TinyLM.hidden`` and ``TinyLM.logits``."""

    def init(self, batch: int) -> Weights:
        """Fresh fp32 weights for ``batch`` sequences, ``[B, ...]`` each; reading with them changes nothing."""
        ...

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        """``h'_BTD``; differentiable in the weights; sequence b sees slice b only."""
        ...

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTD: Tensor) -> Weights:
        """Gradient for the weights of a loss whose gradient for ``read(weights, h)`` is ``g``; no graph."""
        ...

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        """:meth:`read` for one sequence and one position in numpy (B = 1): ``h_D -> h'_D``, for lean decoding."""
        ...


@dataclass(frozen=True)
class LinearContext:
    """``h' = h + W h``: D x D fast weights, called ``name``."""

    dim: int
    name: str = "context.weight"

    def init(self, batch: int) -> Weights:
        return {self.name: torch.zeros(batch, self.dim, self.dim)}

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        return torch.baddbmm(h_BTD, h_BTD, weights[self.name].mT)

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTD: Tensor) -> Weights:
        return {self.name: g_BTD.mT @ h_BTD}

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        w_DD = _one(weights[self.name])
        return lambda h_D: h_D + w_DD @ h_D


@dataclass(frozen=True)
class LowRankContext:
    """``h' = h + U (V h)``: 2 R D fast weights. V starts random (seeded, about unit rows), U at 0."""

    dim: int
    rank: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= self.dim:
            raise ValueError(f"rank is {self.rank}; it must lie in [1, {self.dim}] (the model's width)")

    def init(self, batch: int) -> Weights:
        generator = torch.Generator().manual_seed(self.seed)
        down_RD = torch.randn(self.rank, self.dim, generator=generator) / self.dim**0.5
        return {
            "context.down": down_RD.expand(batch, -1, -1).clone(),
            "context.up": torch.zeros(batch, self.dim, self.rank),
        }

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        return torch.baddbmm(h_BTD, h_BTD @ weights["context.down"].mT, weights["context.up"].mT)

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTD: Tensor) -> Weights:
        return {
            "context.down": (g_BTD @ weights["context.up"]).mT @ h_BTD,
            "context.up": g_BTD.mT @ (h_BTD @ weights["context.down"].mT),
        }

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        down_RD, up_DR = _one(weights["context.down"]), _one(weights["context.up"])
        return lambda h_D: h_D + up_DR @ (down_RD @ h_D)


def build_memory(name: str, dim: int, rank: int) -> Memory:
    """The memory of a session's options, for a model of width ``dim``."""
    if name == "linear":
        return LinearContext(dim)
    if name == "low_rank":
        return LowRankContext(dim, rank)
    raise ValueError(f"memory {name!r} is not known; use linear or low_rank")


def _one(weight: Tensor) -> Array:
    if weight.shape[0] != 1:
        raise ValueError(f"a reader follows one sequence, the weights hold {weight.shape[0]}")
    return weight[0].detach().cpu().numpy()
