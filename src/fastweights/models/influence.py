"""How much each token of a chunk weighs in its loss: ``||dL / d embedding_t||``, through the frozen backbone.

One pass of autograd from the embedding's output; the model itself is not touched. Shape suffixes: B sequences, T
positions, D width.
"""

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fastweights.core.state import Chunk, Weights


class Reads(Protocol):
    """An :class:`~fastweights.models.adapted_lm.AdaptedLM` or a
    :class:`~fastweights.models.recurrent_learner.RecurrentLearner`."""

    @property
    def lm(self) -> Any: ...

    def loss_through(self, lm: Any, weights: Weights, chunk: Chunk, carry: Any) -> Tensor: ...


class _Leaf(nn.Module):
    """Calls an embedding and makes its output the leaf that the gradient is taken for."""

    def __init__(self, embedding: nn.Module, change: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        self._embedding, self._change = (embedding,), change  # in a tuple: not a sub-module
        self.leaf_BTD: Tensor | None = None

    @property
    def weight(self) -> Any:
        """Of the embedding: models ask it for its dtype."""
        return self._embedding[0].weight

    def forward(self, *inputs: Any) -> Any:
        out = self._embedding[0](*inputs)
        x_BTD = (out[0] if isinstance(out, tuple) else out).detach()
        self.leaf_BTD = x_BTD.requires_grad_() if self._change is None else self._change(x_BTD)
        return (self.leaf_BTD, *out[1:]) if isinstance(out, tuple) else self.leaf_BTD


def influence_BT(model: Reads, weights: Weights, chunk: Chunk, carry: Any) -> Tensor:
    """``||dL_b / d emb_bt||`` of each sequence's own mean loss; its model must have an ``embedding`` module."""
    with torch.enable_grad():
        loss_B, x_BTD = loss_from_embedding(model, weights, chunk, carry)
        (g_BTD,) = torch.autograd.grad(loss_B.sum(), [x_BTD])
    return g_BTD.norm(dim=-1)


def loss_from_embedding(
    model: Reads, weights: Weights, chunk: Chunk, carry: Any, change: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """``(loss_B, x_BTD)``: the loss with its graph from the (perhaps changed) output ``x`` of the embedding on."""
    lm = model.lm
    assert isinstance(lm, nn.Module)
    embedding = lm.get_submodule("embedding")
    shadow, leaf = copy.copy(lm), _Leaf(embedding, change)
    shadow.__dict__["_modules"] = {**lm._modules, "embedding": leaf}  # the copy's alone; the model keeps its own
    loss_B = model.loss_through(shadow, weights, chunk, carry)
    assert leaf.leaf_BTD is not None
    return loss_B, leaf.leaf_BTD
