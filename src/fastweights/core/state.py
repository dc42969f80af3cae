"""The values that learning passes around: weights, fast state, chunk, delta.

Shape suffixes: B sequences (always the leading dimension of a fast weight), T positions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastweights.core.table import RowDelta, Table
from fastweights.core.tree import leaves, rebuild

Weights = Mapping[str, Any]
"""Fast weights by name, each ``[B, *shape]``: one slice a sequence. Stored fp32; computed in the input's dtype.

Each is a Tensor or, where large and sparse, a :class:`Table`; a gradient for a table is a :class:`RowDelta`."""

Delta = Mapping[str, Any]
"""A change of :data:`Weights`: same names and shapes; of a table a :class:`RowDelta`."""

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
    return {name: w.plus(delta[name]) if isinstance(w, Table) else w + delta[name] for name, w in weights.items()}


def subtract(after: Weights, before: Weights) -> Delta:
    """``after - before``, out of place (of row deltas: both of the same rows)."""
    return {name: map_rows(lambda b, n=name: values_of(after[n]) - b, before[name]) for name in before}


def values_of(tensor: Tensor | RowDelta) -> Tensor:
    """The numbers of a delta or gradient: of few rows only those."""
    return tensor.values_BN if isinstance(tensor, RowDelta) else tensor


def map_rows(fn: Callable[[Tensor], Tensor], tensor: Tensor | RowDelta) -> Any:
    """``fn`` of the values of a delta or gradient, at the same rows."""
    return tensor._replace(values_BN=fn(tensor.values_BN)) if isinstance(tensor, RowDelta) else fn(tensor)


def norm_B(tensors: Mapping[str, Any]) -> Tensor:
    """L2 norm over all tensors of each sequence: ``[B]``."""
    per_tensor = [torch.linalg.vector_norm(values_of(t).flatten(1), dim=1) for t in tensors.values()]
    return per_tensor[0] if len(per_tensor) == 1 else torch.linalg.vector_norm(torch.stack(per_tensor), dim=0)


def dot_B(a: Mapping[str, Any], b: Mapping[str, Any]) -> Tensor:
    """Inner product over all tensors of each sequence: ``[B]`` (either side may have B = 1)."""
    products = [t.values_BN * b[name].at(t.rows_N) if isinstance(t, RowDelta) else t * b[name] for name, t in a.items()]
    return torch.stack([product.flatten(1).sum(1) for product in products]).sum(0)


def is_finite(tree: Any) -> bool:
    """True when no tensor of the tree holds NaN or infinity. (What enters a table is looked at as a delta.)"""
    tensors = [leaf for _, leaf in leaves(tree) if isinstance(leaf, Tensor)]
    return all(bool(torch.isfinite(leaf).all()) for leaf in tensors if leaf.is_floating_point())


def expand(weights: Weights, batch: int) -> Weights:
    """One sequence's weights (B = 1) seen by ``batch`` sequences; views, nothing is copied."""
    return {
        name: w.expand(batch) if isinstance(w, Table) else w.expand(batch, *w.shape[1:]) for name, w in weights.items()
    }


def to_tensors(state: FastState) -> dict[str, Tensor]:
    """Flatten to named, detached, contiguous tensors: ``weights/…``, ``rule/…``, ``carry/…`` and ``step``.

    Of a table only what is not 0: ``…/rows``, ``…/values`` and, if it is tagged, ``…/tags``.
    """
    named: dict[str, Tensor] = {}
    for path, leaf in leaves({"weights": state.weights, "rule": state.rule, "carry": state.carry}):
        if isinstance(leaf, Table):
            named |= {f"{path}/{part}": tensor for part, tensor in leaf.entries().items()}
        else:
            named[path] = leaf.detach().contiguous()
    return {**named, "step": torch.tensor(state.step)}


def from_tensors(named: Mapping[str, Tensor], like: FastState) -> FastState:
    """The inverse of :func:`to_tensors`; ``like`` gives names, shapes and dtypes.

    Raises ValueError naming the first tensor that is missing, unexpected, or of another shape or dtype.
    """
    tree = {"weights": like.weights, "rule": like.rule, "carry": like.carry}
    wanted = dict(leaves(tree))
    parts = {path: _parts(path, leaf) for path, leaf in wanted.items()}
    expected = {name: want for own in parts.values() for name, want in own.items()}
    if extra := sorted(set(named) - set(expected) - {"step"}):
        raise ValueError(f"state has an unexpected tensor {extra[0]!r}: it belongs to another model or memory")
    for name, want in expected.items():
        got = named.get(name)
        if got is None:
            raise ValueError(f"state lacks tensor {name!r}: it belongs to another model or memory")
        shape = (*want.shape[:-1], got.shape[-1]) if name.endswith(_OF_TABLE) and got.dim() else want.shape
        if got.shape != shape or got.dtype != want.dtype:
            raise ValueError(
                f"state tensor {name!r} is {tuple(got.shape)} {got.dtype}, expected {tuple(want.shape)} {want.dtype}"
            )
    if "step" not in named:
        raise ValueError("state lacks tensor 'step'")
    found: dict[str, Any] = {}
    for path, leaf in wanted.items():
        if isinstance(leaf, Table):
            found[path] = leaf.filled({part: named[f"{path}/{part}"] for part in leaf.nothing()}, path)
        else:
            found[path] = named[path].to(leaf.device)
    fresh = rebuild(tree, found)
    return FastState(fresh["weights"], fresh["rule"], fresh["carry"], int(named["step"]))


_OF_TABLE = ("/rows", "/values", "/tags")


def _parts(path: str, leaf: Tensor | Table) -> dict[str, Tensor]:
    """The tensors that stand for a leaf; of a table they may be longer."""
    if isinstance(leaf, Tensor):
        return {path: leaf}
    return {f"{path}/{part}": tensor for part, tensor in leaf.nothing().items()}
