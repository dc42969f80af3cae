"""Memories beside the frozen head: what they say is added to its logits.

Shape suffixes: B sequences, T positions, D hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import GradientLearner, InnerOutput, Proposal
from fastweights.core.losses import cross_entropy_B
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, FastState, Weights, add
from fastweights.models.adapted_lm import RecurrentLM

Array = NDArray[np.floating]


class LogitMemory(Protocol):
    """Fast weights from hidden states to a change of the logits; 0 at the start."""

    def init(self, batch: int) -> Weights: ...

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        """What is added to the logits, ``[B, T, V]``; differentiable in the weights."""
        ...

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTV: Tensor) -> Weights:
        """Gradient for the weights of a loss whose gradient for the logits is ``g``; no graph."""
        ...

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        """:meth:`read` for one sequence and one position in numpy: ``h_D -> [V]``."""
        ...


@dataclass(frozen=True)
class HeadDelta:
    """``W h``: a change of the head, V x D. ``unit``: of hidden states scaled to length 1."""

    vocab: int
    dim: int
    unit: bool = False
    name: str = "head.delta"

    def init(self, batch: int) -> Weights:
        return {self.name: torch.zeros(batch, self.vocab, self.dim)}

    def keys(self, h_BTD: Tensor) -> Tensor:
        return torch.nn.functional.normalize(h_BTD, dim=-1) if self.unit else h_BTD

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        return self.keys(h_BTD) @ weights[self.name].mT

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTV: Tensor) -> Weights:
        return {self.name: g_BTV.mT @ self.keys(h_BTD)}

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        w_VD = weights[self.name][0].cpu().numpy()
        return lambda h_D: w_VD @ (h_D / max(float(np.linalg.norm(h_D)), 1e-12) if self.unit else h_D)


@dataclass(frozen=True)
class LogitBias:
    """One number a token: the control that knows how often tokens come, and nothing of what they follow."""

    vocab: int
    name: str = "head.bias"

    def init(self, batch: int) -> Weights:
        return {self.name: torch.zeros(batch, self.vocab)}

    def read(self, weights: Weights, h_BTD: Tensor) -> Tensor:
        return weights[self.name][:, None].expand(-1, h_BTD.shape[1], -1)

    def pullback(self, weights: Weights, h_BTD: Tensor, g_BTV: Tensor) -> Weights:
        return {self.name: g_BTV.sum(1)}

    def reader(self, weights: Weights) -> Callable[[Array], Array]:
        b_V = weights[self.name][0].cpu().numpy()
        return lambda h_D: b_V


@dataclass(frozen=True, eq=False)
class LogitModel:
    """A frozen ``lm`` with a :class:`LogitMemory`; the carry is that of an :class:`AdaptedLM`."""

    lm: RecurrentLM
    memory: LogitMemory
    bos: int

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    def init_weights(self, batch: int) -> Weights:
        return {name: w.to(self.device) for name, w in self.memory.init(batch).items()}

    def init_carry(self, batch: int) -> Any:
        return {"lm": self.lm.init_carry(batch), "last_B": torch.full((batch,), self.bos, device=self.device)}

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        h_BTD, after = self.lm.hidden(chunk.tokens_BT.to(self.device), carry["lm"])
        last_B = chunk.targets_BT[:, -1].clone(memory_format=torch.contiguous_format).to(self.device)
        return {"h_BTD": h_BTD, "logits_BTV": self.lm.logits(h_BTD), "carry": {"lm": after, "last_B": last_B}}

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        logits_BTV = features["logits_BTV"] + self.memory.read(weights, features["h_BTD"])
        loss_B = cross_entropy_B(logits_BTV, chunk.targets_BT.to(self.device), chunk.mask_BT.to(self.device))
        return InnerOutput(loss_B, features["carry"])

    def closed_form(
        self, weights: Weights, features: Any, chunk: Chunk, carry: Any, *, grad: bool
    ) -> tuple[InnerOutput, Weights | None]:
        if not grad:
            return self.forward(weights, features, chunk, carry), None
        logits_BTV = features["logits_BTV"] + self.memory.read(weights, features["h_BTD"])
        targets_BT, mask_BT = chunk.targets_BT.to(self.device), chunk.mask_BT.to(self.device)
        loss_B = cross_entropy_B(logits_BTV, targets_BT, mask_BT)
        share_BT = mask_BT.to(logits_BTV.dtype)
        share_BT = share_BT / share_BT.sum(1, keepdim=True).clamp(min=1)
        g_BTV = logits_BTV.softmax(-1) * share_BT[..., None]
        g_BTV.scatter_add_(2, targets_BT[..., None], -share_BT[..., None])
        return InnerOutput(loss_B, features["carry"]), self.memory.pullback(weights, features["h_BTD"], g_BTV)


@dataclass(frozen=True, eq=False)
class DeltaRule:
    """An associative memory that is written by the delta rule (Widrow and Hoff, 1960), not by the loss's gradient.

    Keys are hidden states of length 1, values ``size * (one-hot of the next token - the frozen prediction)``; after
    ``S += beta (v - S k) k^T`` for each position in turn, S k is added to the logits. A chunk's positions are written
    at once: the triangular system of DeltaNet's WY form (Yang et al., 2024) gives what writing them in turn gives.
    """

    model: LogitModel  # of a HeadDelta with unit keys
    beta: float = 0.3
    size: float = 6.0

    @property
    def _loss(self) -> GradientLearner:
        return GradientLearner(self.model, SGD(1.0))

    def init(self, batch: int = 1) -> FastState:
        return self._loss.init(batch)

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        return self._loss.prepare(chunk, carry)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        return self._loss.score(state, chunk)

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        return self._loss.score_and_grad(state, chunk)

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("the delta rule writes in closed form, without a graph: leave create_graph out")
        chunk = self.prepare(chunk, state.carry)
        features = chunk.inputs["features"]
        output, grads = self.model.closed_form(state.weights, features, chunk, state.carry, grad=True)
        memory = self.model.memory
        assert isinstance(memory, HeadDelta)
        mask_BT1 = chunk.mask_BT.to(self.model.device)[..., None]
        key_BTD = memory.keys(features["h_BTD"]) * mask_BT1
        value_BTV = -features["logits_BTV"].softmax(-1)
        value_BTV.scatter_add_(
            2, chunk.targets_BT.to(self.model.device)[..., None], torch.ones_like(value_BTV[..., :1])
        )
        error_BTV = self.size * value_BTV - key_BTD @ state.weights[memory.name].mT
        system_BTT = (self.beta * key_BTD @ key_BTD.mT).tril(-1)
        write_BTV = torch.linalg.solve_triangular(system_BTT, self.beta * error_BTV, upper=False, unitriangular=True)
        delta = {memory.name: write_BTV.mT @ key_BTD}
        after = FastState(add(state.weights, delta), state.rule, output.carry, state.step + 1)
        return Proposal(state, delta, after, replace(state, carry=output.carry), output, grads)
