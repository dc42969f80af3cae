"""A frozen recurrent model with a memory of fast weights before its head: what chat and monitor learn with.

The backbone is frozen and does not see the fast weights, so a chunk is encoded once; each inner step and each canary
touches the memory and the head only. Shape suffixes: B sequences, T positions, D hidden width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fastweights.core.learner import InnerOutput
from fastweights.core.losses import cross_entropy_B, head_loss_and_grad
from fastweights.core.state import Chunk, Weights
from fastweights.models.memory.context_nets import Memory


class RecurrentLM(Protocol):
    """A :class:`~fastweights.models.tiny_lm.TinyLM`, or anything that reads and predicts like one."""

    @property
    def head(self) -> nn.Linear: ...
    def init_carry(self, batch: int) -> Any: ...
    def hidden(self, tokens_BT: Tensor, carry: Any) -> tuple[Tensor, Any]: ...
    def logits(self, h_BTD: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class AdaptedLM:
    """``lm`` in eval mode, without gradients. The carry is ``{"lm": the model's carry, "last_B": int64}``.

    ``last_B`` is the last token of the stream: its successor is not known yet, so the next chunk begins with it.
    """

    lm: RecurrentLM
    memory: Memory
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
        return {"h_BTD": h_BTD, "carry": {"lm": after, "last_B": chunk.targets_BT[:, -1].to(self.device)}}

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        logits_BTV = self.lm.logits(self.memory.read(weights, features["h_BTD"]))
        loss_B = cross_entropy_B(logits_BTV, chunk.targets_BT.to(self.device), chunk.mask_BT.to(self.device))
        return InnerOutput(loss_B, features["carry"])

    def loss_through(self, lm: RecurrentLM, weights: Weights, chunk: Chunk, carry: Any) -> Tensor:
        """``loss_B`` with its graph, read by ``lm``, a copy of the model with another embedding."""
        h_BTD, after = lm.hidden(chunk.tokens_BT.to(self.device), carry["lm"])
        return self.forward(weights, {"h_BTD": h_BTD, "carry": after}, chunk, carry).loss_B

    def closed_form(
        self, weights: Weights, features: Any, chunk: Chunk, carry: Any, *, grad: bool
    ) -> tuple[InnerOutput, Weights | None]:
        h_BTD, head = features["h_BTD"], self.lm.head
        loss_B, g_BTD = head_loss_and_grad(
            self.memory.read(weights, h_BTD),
            head.weight,
            head.bias,
            chunk.targets_BT.to(self.device),
            chunk.mask_BT.to(self.device),
            grad=grad,
        )
        grads = None if g_BTD is None else self.memory.pullback(weights, h_BTD, g_BTD)
        return InnerOutput(loss_B, features["carry"]), grads
