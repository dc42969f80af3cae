"""The values that learning passes around: weights, fast state, chunk, delta.

Shape suffixes: B sequences (always the leading dimension of a fast weight), T positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastweights.core.tree import leaves, rebuild

Weights = Mapping[str, Tensor]
"""Fast weights by name, each ``[B, *shape]``: one slice a sequence. Stored fp32; computed in the input's dtype."""

Delta = Mapping[str, Tensor]
"""A change of :data:`Weights`: same names and shapes."""

RuleState = Mapping[str, Weights]
"""What an update rule remembers, e.g. ``{"momentum": {...}}``; every tensor ``[B, ...]``."""


@dataclass(frozen=True, eq=False)
class FastState:
    """What learning changed, and where the reader stands. A value: nothing ever mutates it."""

    weights: Weights
    rule: RuleState
    carry: Any
    step: int = 0


class Chunk(NamedTuple):
    """One piece of input for ``B`` sequences.

    ``tokens_BT`` and ``targets_BT`` are int64, ``mask_BT`` is True where a target counts. ``inputs`` holds what is not
    tokens (an observation, or features that :meth:`Learner.prepare` computed once).
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    mask_BT: Tensor
    text: str | None = None
    inputs: Mapping[str, Any] = {}


def add(weights: Weights, delta: Delta) -> Weights:
    """``weights + delta``, out of place."""
    return {name: w + delta[name] for name, w in weights.items()}


def subtract(after: Weights, before: Weights) -> Delta:
    """``after - before``, out of place."""
    return {name: after[name] - before[name] for name in before}


def norm_B(tensors: Mapping[str, Tensor]) -> Tensor:
    """L2 norm over all tensors of each sequence: ``[B]``."""
    per_tensor = [torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors.values()]
    return per_tensor[0] if len(per_tensor) == 1 else torch.linalg.vector_norm(torch.stack(per_tensor), dim=0)


def dot_B(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    """Inner product over all tensors of each sequence: ``[B]`` (either side may have B = 1)."""
    return torch.stack([(t * b[name]).flatten(1).sum(1) for name, t in a.items()]).sum(0)


def is_finite(tree: Any) -> bool:
    """True when no tensor of the tree holds NaN or infinity."""
    return all(bool(torch.isfinite(leaf).all()) for _, leaf in leaves(tree) if leaf.is_floating_point())


def expand(weights: Weights, batch: int) -> Weights:
    """One sequence's weights (B = 1) seen by ``batch`` sequences; views, nothing is copied."""
    return {name: w.expand(batch, *w.shape[1:]) for name, w in weights.items()}


def to_tensors(state: FastState) -> dict[str, Tensor]:
    """Flatten to named, detached, contiguous tensors: ``weights/…``, ``rule/…``, ``carry/…`` and ``step``."""
    tree = {"weights": state.weights, "rule": state.rule, "carry": state.carry}
    named = {path: leaf.detach().contiguous() for path, leaf in leaves(tree)}
    return {**named, "step": torch.tensor(state.step)}


def from_tensors(named: Mapping[str, Tensor], like: FastState) -> FastState:
    """The inverse of :func:`to_tensors`; ``like`` gives names, shapes and dtypes.

    Raises ValueError naming the first tensor that is missing, unexpected, or of another shape or dtype.
    """
    tree = {"weights": like.weights, "rule": like.rule, "carry": like.carry}
    expected = dict(leaves(tree))
    if extra := sorted(set(named) - set(expected) - {"step"}):
        raise ValueError(f"state has an unexpected tensor {extra[0]!r}: it belongs to another model or memory")
    for name, want in expected.items():
        got = named.get(name)
        if got is None:
            raise ValueError(f"state lacks tensor {name!r}: it belongs to another model or memory")
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ValueError(
                f"state tensor {name!r} is {tuple(got.shape)} {got.dtype}, expected {tuple(want.shape)} {want.dtype}"
            )
    if "step" not in named:
        raise ValueError("state lacks tensor 'step'")
    fresh = rebuild(tree, {name: named[name].to(want.device) for name, want in expected.items()})
    return FastState(fresh["weights"], fresh["rule"], fresh["carry"], int(named["step"]))
