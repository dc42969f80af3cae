"""The reference model of the monitor: small, seeded, untrained; only an adapter before its head is plastic.

Embedding 8192 x 64 -> backbone -> LayerNorm -> ``h + adapter(h)`` (fast weights, outside of this module) -> head with
bias. Legend: B sequences, T time, D channels.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from fastweights.data.hashed_words import VOCAB
from fastweights.layers.gru import GRU
from fastweights.layers.scan import steady_scan

DIM = 64
Backbone = Literal["ssm", "gru"]


class ToySSM(nn.Module):
    """``s_t = a s_{t-1} + b (sigmoid(W x_t) x_t)``, ``h_t = c s_t + d x_t``, ``a = tanh(a_logit)``; diagonal."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, dim)
        self.a_logit = nn.Parameter(torch.linspace(0.3, 2.5, dim))  # memories of one to about 75 tokens
        self.b, self.c, self.d = (nn.Parameter(torch.ones(dim)) for _ in range(3))

    def init_carry(self, batch: int) -> dict[str, Tensor]:
        """The state before any token: zeros ``{"state": (B, D)}``."""
        return {"state": self.b.new_zeros(batch, self.b.numel())}

    def forward(self, x_BTD: Tensor, carry: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """``(h_BTD, carry)``."""
        u_BTD = self.b * (torch.sigmoid(self.gate(x_BTD)) * x_BTD)
        s_BTD = steady_scan(torch.tanh(self.a_logit), u_BTD, carry["state"])
        return self.c * s_BTD + self.d * x_BTD, {"state": s_BTD[:, -1]}


class ToyLM(nn.Module):
    """Frozen and in eval mode from the start; the same seed gives the same weights."""

    def __init__(self, backbone: Backbone = "ssm", seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(VOCAB, DIM)
            self.backbone = ToySSM(DIM) if backbone == "ssm" else GRU(DIM)
            self.norm = nn.LayerNorm(DIM)
            self.head = nn.Linear(DIM, VOCAB)
        self.eval().requires_grad_(False)

    def init_carry(self, batch: int) -> dict[str, Tensor]:
        return self.backbone.init_carry(batch)

    def hidden(self, tokens_BT: Tensor, carry: Any = None) -> tuple[Tensor, Any]:
        """``(h_BTD, carry)`` of int64 tokens; the states that the adapter reads."""
        carry = self.init_carry(tokens_BT.shape[0]) if carry is None else carry
        h_BTD, carry = self.backbone(self.embedding(tokens_BT), carry)
        return self.norm(h_BTD), carry

    def logits(self, h_BTD: Tensor) -> Tensor:
        return self.head(h_BTD)
