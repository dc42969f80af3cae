"""Update rules: pure, twice differentiable functions from gradients to a change of the fast weights.

Shape suffixes: B sequences, M x N one sequence's matrix. All state is fp32 or the dtype of the weights, whichever is
wider. ``lr`` may be a number, a tensor (learned) or a mapping with one entry a weight (learned, per tensor).

The convention for ``lr``: SGD writes ``-lr * direction``; Muon writes ``-lr * sqrt(max(1, M / N)) * orthogonal``, the
scale of K. Jordan's original Muon (2024), so a full-rank square update has spectral norm ``lr`` whatever the gradient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fastweights.core.muon import orthogonalize
from fastweights.core.state import Delta, RuleState, Weights, norm_B

LearningRate = float | Tensor | Mapping[str, Tensor]
_TINY = 1e-12  # keeps the clip of a zero gradient finite


class UpdateRule(Protocol):
    """Pure: the same arguments give the same result, and no argument is changed."""

    def init(self, weights: Weights) -> RuleState:
        """The state before the first step."""
        ...

    def delta(self, grads: Weights, rule: RuleState, weights: Weights) -> tuple[Delta, RuleState]:
        """The change to add to ``weights``, and the state after this step. Differentiable in every tensor argument."""
        ...


def _lr(lr: LearningRate, name: str) -> float | Tensor:
    return lr[name] if isinstance(lr, Mapping) else lr


def _momentum(
    grads: Weights, rule: RuleState, momentum: float, nesterov: bool
) -> tuple[Mapping[str, Tensor], RuleState]:
    """Heavy-ball ``m' = momentum * m + g`` (as ``torch.optim.SGD``); direction ``g + momentum * m'`` with Nesterov."""
    if momentum == 0:
        return grads, rule
    buffers = {name: momentum * rule["momentum"][name] + g for name, g in grads.items()}
    if not nesterov:
        return buffers, {"momentum": buffers}
    return {name: g + momentum * buffers[name] for name, g in grads.items()}, {"momentum": buffers}


def _check(momentum: float, nesterov: bool) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; it must lie in [0, 1)")
    if nesterov and momentum == 0:
        raise ValueError("nesterov needs momentum > 0")


@dataclass(frozen=True)
class SGD:
    """Gradient descent, with optional (Nesterov) momentum.

    ``clip``: the most that each sequence's gradient may measure (L2 over all weights); a longer one is scaled down.
    """

    lr: LearningRate = 0.1
    momentum: float = 0.0
    nesterov: bool = False
    clip: float | None = None

    def __post_init__(self) -> None:
        _check(self.momentum, self.nesterov)
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip is {self.clip}; it must be positive, or None")

    def init(self, weights: Weights) -> RuleState:
        return {"momentum": {name: torch.zeros_like(w) for name, w in weights.items()}} if self.momentum else {}

    def delta(self, grads: Weights, rule: RuleState, weights: Weights) -> tuple[Delta, RuleState]:
        if self.clip is not None:
            scale_B = (self.clip / (norm_B(grads) + _TINY)).clamp(max=1.0)
            grads = {name: g * scale_B.view(-1, *[1] * (g.dim() - 1)) for name, g in grads.items()}
        direction, rule = _momentum(grads, rule, self.momentum, self.nesterov)
        return {name: -_lr(self.lr, name) * d for name, d in direction.items()}, rule


@dataclass(frozen=True)
class Muon:
    """Momentum, then the nearest (semi-)orthogonal matrix by Newton-Schulz (K. Jordan, 2024).

    What is not a matrix: a vector ``[B, N]`` is treated as a 1 x N matrix (its direction becomes a unit vector), a
    tensor of more dimensions as ``M x (rest)``; a scalar a sequence ``[B]`` becomes its sign.
    """

    lr: LearningRate = 0.03
    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5

    def __post_init__(self) -> None:
        _check(self.momentum, self.nesterov)
        if self.ns_steps < 1:
            raise ValueError(f"ns_steps is {self.ns_steps}; at least 1")

    def init(self, weights: Weights) -> RuleState:
        return {"momentum": {name: torch.zeros_like(w) for name, w in weights.items()}} if self.momentum else {}

    def delta(self, grads: Weights, rule: RuleState, weights: Weights) -> tuple[Delta, RuleState]:
        direction, rule = _momentum(grads, rule, self.momentum, self.nesterov)
        return {name: -_lr(self.lr, name) * self._orthogonal(d) for name, d in direction.items()}, rule

    def _orthogonal(self, direction: Tensor) -> Tensor:
        batch = direction.shape[0]
        matrix_BMN = direction.flatten(2) if direction.dim() >= 3 else direction.reshape(batch, 1, -1)
        rows, cols = matrix_BMN.shape[1:]
        return (max(1.0, rows / cols) ** 0.5 * orthogonalize(matrix_BMN, self.ns_steps)).reshape(direction.shape)


@dataclass(frozen=True)
class Adagrad:
    """``-lr g / sqrt(sum of mean g^2)`` with one accumulator a row (the last dimension; of a vector one an entry).

    A row that few chunks touch learns in great steps, and one that none touches stays as it is (Duchi et al., 2011).
    """

    lr: LearningRate = 0.1
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ValueError(f"eps is {self.eps}; it must be positive")

    def init(self, weights: Weights) -> RuleState:
        return {"square": {name: torch.zeros(_rows(w).shape[:-1]).to(w) for name, w in weights.items()}}

    def delta(self, grads: Weights, rule: RuleState, weights: Weights) -> tuple[Delta, RuleState]:
        squares = {name: rule["square"][name] + _rows(g).square().mean(-1) for name, g in grads.items()}
        scaled = {
            name: (_rows(g) / (squares[name] + self.eps**2).sqrt().unsqueeze(-1)).view_as(g)
            for name, g in grads.items()
        }
        return {name: -_lr(self.lr, name) * d for name, d in scaled.items()}, {"square": squares}


def _rows(w: Tensor) -> Tensor:
    """``[B, ..., row]``; the entries of a vector, or a scalar a sequence, are rows of their own."""
    return w if w.dim() >= 3 else w.unsqueeze(-1)
