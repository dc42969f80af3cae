"""Small learners that the contract suites run over; every new learner and rule adds a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fastweights.core.learner import GradientLearner, InnerOutput
from fastweights.core.losses import cross_entropy_B
from fastweights.core.rules import SGD, Adagrad, Muon, UpdateRule
from fastweights.core.state import Chunk, Weights

VOCAB, DIM = 11, 6


@dataclass(frozen=True)
class TinyModel:
    """A frozen recurrent encoder (an exponential average of embeddings) before fast weights of every shape."""

    dtype: torch.dtype = torch.float32

    def _frozen(self) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        return (
            torch.randn(VOCAB, DIM, generator=generator, dtype=torch.float64).to(self.dtype),
            torch.randn(VOCAB, DIM, generator=generator, dtype=torch.float64).to(self.dtype),
        )

    def init_weights(self, batch: int) -> Weights:
        generator = torch.Generator().manual_seed(1)
        shapes = {"w": (DIM, DIM), "tall": (VOCAB, 3), "bias": (DIM,), "cube": (2, 3, DIM)}
        return {
            name: 0.1
            * torch.randn(1, *shape, generator=generator, dtype=torch.float64)
            .to(self.dtype)
            .repeat(batch, *[1] * len(shape))
            for name, shape in shapes.items()
        }

    def init_carry(self, batch: int) -> Any:
        return {"average": torch.zeros(batch, DIM, dtype=self.dtype)}

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        embedding, _ = self._frozen()
        state, states = carry["average"], []
        for t in range(chunk.tokens_BT.shape[1]):
            state = 0.7 * state + embedding[chunk.tokens_BT[:, t]]
            states.append(state)
        return {"h_BTD": torch.stack(states, 1), "carry": {"average": state}}

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        _, head = self._frozen()
        h_BTD = features["h_BTD"]
        h_BTD = h_BTD + torch.tanh(h_BTD @ weights["w"].mT) + weights["bias"][:, None]
        h_BTD = h_BTD + weights["cube"].sum((1, 2))[:, None]
        logits = h_BTD @ head.T + (h_BTD[..., :3] @ weights["tall"].mT)
        return InnerOutput(cross_entropy_B(logits, chunk.targets_BT, chunk.mask_BT), features["carry"])


RULES: Mapping[str, Callable[[], UpdateRule]] = {
    "sgd": lambda: SGD(lr=0.3),
    "sgd-clipped": lambda: SGD(lr=0.3, clip=0.5),
    "sgd-momentum": lambda: SGD(lr=0.1, momentum=0.9),
    "sgd-nesterov": lambda: SGD(lr=0.1, momentum=0.9, nesterov=True),
    "sgd-learned-lr": lambda: SGD(lr={n: torch.tensor(0.1) for n in ("w", "tall", "bias", "cube")}),
    "adagrad": lambda: Adagrad(lr=0.1),
    "muon": lambda: Muon(lr=0.03),
    "muon-plain": lambda: Muon(lr=0.03, momentum=0.0, nesterov=False),
}


def learner(rule: str, inner_steps: int = 1, dtype: torch.dtype = torch.float32) -> GradientLearner:
    return GradientLearner(TinyModel(dtype), RULES[rule](), inner_steps)


def random_chunk(batch: int = 1, length: int = 7, seed: int = 0) -> Chunk:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (batch, length + 1), generator=generator)
    return Chunk(ids[:, :-1], ids[:, 1:], torch.ones(batch, length, dtype=torch.bool))
