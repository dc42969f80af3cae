"""Learners: predict with the weights before, then propose what to write. Nothing here mutates a module.

Shape suffixes: B sequences, T positions.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from fastweights.core.rules import UpdateRule
from fastweights.core.state import Chunk, Delta, FastState, Weights, add, subtract
from fastweights.core.tree import map_tree


class InnerOutput(NamedTuple):
    """What reading one chunk gave: the loss of each sequence (nats per token or MSE) and the carry after it.

    ``outer_B``: what a meta-learner minimises, where that is not ``loss_B``. ``logits_BTV``: of models that predict
    tokens, where they are at hand.
    """

    loss_B: Tensor
    carry: Any
    outer_B: Tensor | None = None
    logits_BTV: Tensor | None = None


class Proposal(NamedTuple):
    """One chunk's write, not yet made.

    ``after`` is the state if it is accepted; ``refused`` holds the very same ``weights`` and ``rule`` objects as
    ``before``, with the carry advanced. ``output`` was computed under ``before``, or by a learner that takes a step a
    token under the steps so far; ``grads`` is the gradient under ``before``.
    """

    before: FastState
    delta: Delta
    after: FastState
    refused: FastState
    output: InnerOutput
    grads: Weights | None


class Learner(Protocol):
    """The one interface of everything whose weights learn while it reads."""

    def init(self, batch: int = 1) -> FastState:
        """The state of ``batch`` sequences that have read nothing."""
        ...

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        """Run once what no fast weight touches; the chunk returned makes propose, score and grad skip it."""
        ...

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        """Predict under ``state.weights``, then propose a write (all inner steps together are one proposal)."""
        ...

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        """``loss_B`` under ``state.weights`` without learning."""
        ...

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """``loss_B`` and the gradient of each sequence's loss for its own fast weights, ``[B, ...]`` by name."""
        ...


class FastModel(Protocol):
    """What a :class:`GradientLearner` needs of a model: a frozen part, and a part that the fast weights touch."""

    def init_weights(self, batch: int) -> Weights: ...

    def init_carry(self, batch: int) -> Any: ...

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        """Everything that no fast weight touches, once a chunk; any pytree, without gradients."""
        ...

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        """Loss and next carry; differentiable in ``weights``; each sequence depends on its own slice only."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A :class:`FastModel` that knows its gradient without autograd; used wherever no graph is asked for."""

    def closed_form(
        self, weights: Weights, features: Any, chunk: Chunk, carry: Any, *, grad: bool
    ) -> tuple[InnerOutput, Weights | None]:
        """As ``forward``; with ``grad`` also the gradient of each sequence's loss for its own weights."""
        ...


_FEATURES = "features"


@dataclass(frozen=True)
class GradientLearner:
    """Fast weights that follow the gradient of their model's inner loss, by an :class:`UpdateRule`.

    ``inner_steps`` rule steps a chunk make one proposal; their sum is its delta. ``first_order``: under
    ``create_graph`` the inner gradient counts as a constant (first-order MAML; Finn et al., 2017).
    """

    model: FastModel
    rule: UpdateRule
    inner_steps: int = 1
    first_order: bool = False

    def __post_init__(self) -> None:
        if self.inner_steps < 1:
            raise ValueError(f"inner_steps is {self.inner_steps}; at least 1")

    def init(self, batch: int = 1) -> FastState:
        weights = self.model.init_weights(batch)
        return FastState(weights, self.rule.init(weights), self.model.init_carry(batch))

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        if _FEATURES in chunk.inputs:
            return chunk
        with torch.no_grad():
            features = self.model.encode(chunk, carry)
        return chunk._replace(inputs={**chunk.inputs, _FEATURES: features})

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        chunk = self.prepare(chunk, state.carry)
        first: InnerOutput | None = None
        first_grads: Weights = {}
        weights, rule, delta = state.weights, state.rule, {}
        for _ in range(self.inner_steps):
            output, grads = self._forward_and_grad(weights, chunk, state.carry, create_graph)
            if first is None:
                first, first_grads = output, grads
            with torch.set_grad_enabled(create_graph):
                delta, rule = self.rule.delta(grads, rule, weights)
                weights = add(weights, delta)
        assert first is not None
        total = subtract(weights, state.weights) if self.inner_steps > 1 else delta
        after = FastState(weights, rule, first.carry, state.step + 1)
        return Proposal(state, total, after, replace(state, carry=first.carry), first, first_grads)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        chunk = self.prepare(chunk, state.carry)
        with torch.no_grad():
            features = chunk.inputs[_FEATURES]
            if isinstance(self.model, ClosedForm):
                return self.model.closed_form(state.weights, features, chunk, state.carry, grad=False)[0].loss_B
            return self.model.forward(state.weights, features, chunk, state.carry).loss_B

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        output, grads = self._forward_and_grad(state.weights, self.prepare(chunk, state.carry), state.carry, False)
        return output.loss_B, grads

    def _forward_and_grad(
        self, weights: Weights, chunk: Chunk, carry: Any, create_graph: bool
    ) -> tuple[InnerOutput, Weights]:
        features = chunk.inputs[_FEATURES]
        if not create_graph and isinstance(self.model, ClosedForm):
            with torch.no_grad():
                output, closed = self.model.closed_form(weights, features, chunk, carry, grad=True)
                assert closed is not None
                return output, closed
        with torch.enable_grad():
            if create_graph:
                live = {k: w if w.requires_grad else w.detach().requires_grad_(True) for k, w in weights.items()}
            else:
                live = {k: w.detach().requires_grad_(True) for k, w in weights.items()}
            output = self.model.forward(live, features, chunk, carry)
            grads = torch.autograd.grad(
                output.loss_B.sum(),
                list(live.values()),
                create_graph=create_graph and not self.first_order,
                retain_graph=create_graph,
                materialize_grads=True,
            )
        if not create_graph:  # the carry of a model whose fast weights lie below attention has a graph, too
            output = map_tree(Tensor.detach, output)
        return output, dict(zip(live, grads, strict=True))
