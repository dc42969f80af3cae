"""A rule of one's own: anything that is pure and proposes a delta passes through the same guard.

Sign descent with decay, on the starter model; SPFW projects each write so that no canary's loss rises to first order.
"""

from dataclasses import dataclass

import torch

from fastweights.core.chunks import next_token_chunks
from fastweights.core.learner import GradientLearner
from fastweights.core.state import Delta, RuleState, Weights
from fastweights.guard.guard import Guard
from fastweights.guard.policy import Policy, SpfwPolicy
from fastweights.guard.stream import read
from fastweights.services.generate import ModelPool
from fastweights.services.records import SessionOptions
from fastweights.services.session_parts import build_parts
from fastweights.store.root import Store


@dataclass(frozen=True)
class SignDescent:
    """``delta = -lr * (sign(g) + decay * w)``."""

    lr: float = 0.0005
    decay: float = 0.01

    def init(self, weights: Weights) -> RuleState:
        return {}

    def delta(self, grads: Weights, rule: RuleState, weights: Weights) -> tuple[Delta, RuleState]:
        return {k: -self.lr * (torch.sign(g) + self.decay * weights[k]) for k, g in grads.items()}, rule


parts = build_parts(ModelPool(Store()).open("starter"), SessionOptions(memory="linear"))
learner = GradientLearner(parts.model, SignDescent())
guard = Guard(Policy(spfw=SpfwPolicy(mode="enforce")), parts.guard.canaries)

tokenizer = parts.loaded.tokenizer
ids = tokenizer.encode("The owl of Brindlemoor writes only in green ink. " * 16)
session = guard.begin(learner, learner.init())
for outcome in read(guard, learner, session, next_token_chunks(tokenizer.bos_id, ids, 64)):
    event = outcome.event
    print(
        f"loss {event.loss:.3f} -> {event.loss_after:.3f}, {event.projected_fraction:.0%} of the update projected away"
    )
