"""What is attacked: a learner behind its guard, with the tokenizer that turns a text into chunks.

Everything an attack writes goes through ``Guard.step``; nothing here changes a fast weight in any other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from fastweights.core.learner import Learner
from fastweights.core.state import Chunk, Weights, dot_B, expand, norm_B
from fastweights.guard.canaries import token_rows
from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.guard import Guard, Outcome
from fastweights.guard.policy import Policy
from fastweights.guard.state import Session
from fastweights.redteam.records import DEFENCES


@dataclass(frozen=True)
class Place:
    """Where a stream stands: its session, and the last token read (None before the first)."""

    session: Session
    last: int | None = None


@dataclass
class Costs:
    """``steps`` through the guard, and texts whose gradient was asked for without a step."""

    steps: int = 0
    queries: int = 0


@dataclass(frozen=True, eq=False)
class Target:
    """``chunks`` cuts a text as a fresh stream; ``heldout`` are texts that the guard knows nothing of."""

    learner: Learner
    guard: Guard
    chunks: Callable[[str], list[Chunk]]
    chunk_tokens: int
    heldout: tuple[str, ...] = ()
    costs: Costs = field(default_factory=Costs)

    def begin(self) -> Place:
        return Place(self.guard.begin(self.learner, self.learner.init()))

    def step(self, place: Place, chunk: Chunk) -> tuple[Place, Outcome]:
        if place.last is not None and int(chunk.tokens_BT[0, 0]) != place.last:
            tokens_BT = chunk.tokens_BT.clone()
            tokens_BT[0, 0] = place.last
            chunk = chunk._replace(tokens_BT=tokens_BT)
        self.costs.steps += 1
        outcome = self.guard.step(self.learner, place.session, chunk)
        return Place(outcome.session, int(chunk.targets_BT[0, -1])), outcome

    def read(self, place: Place, chunks: Iterable[Chunk]) -> Iterator[tuple[Place, Outcome]]:
        """One outcome a chunk."""
        for chunk in chunks:
            place, outcome = self.step(place, chunk)
            yield place, outcome

    def drift(self, place: Place) -> float:
        """The largest rise of a canary above its initial loss under the weights now (nats)."""
        guard = place.session.guard
        return max((guard.current[name] - guard.origin[name] for name in guard.origin), default=0.0)

    def heldout_loss(self, weights: Weights) -> float | None:
        """Mean loss of the held-out texts under one sequence's weights, each read from the start (nats a token)."""
        if not self.heldout:
            return None
        rows = self._heldout_rows
        state = replace(self.learner.init(len(self.heldout)), weights=expand(weights, len(self.heldout)))
        return float(self.learner.score(state, rows).mean())

    def pressure(self, place: Place, texts: list[str]) -> torch.Tensor:
        """How hard the first chunk of each text pushes a canary up, to first order: ``[n]``.

        A step writes ``-lr g``, so a canary with gradient ``c`` rises by ``-lr <g, c>``; ``g`` is clipped to length 1.
        The worst canary counts. Projection (SPFW) is left out: what it takes away is the same for all candidates to
        first order, and what goes beyond is largest where the push is.
        """
        if self.guard.canaries is None:
            raise ValueError("the guard has no canaries: there is nothing to push up")
        rows = [self.chunks(text)[0].targets_BT[0].tolist() for text in texts]
        chunk = token_rows(rows, self._bos if place.last is None else place.last)
        weights = place.session.fast.weights
        state = replace(self.learner.init(len(rows)), weights=expand(weights, len(rows)))
        _, grads = self.learner.score_and_grad(state, chunk)
        self.costs.queries += len(rows)
        canaries = self.guard.canaries.measure(self.learner, weights).grads
        pushes = [
            -dot_B(grads, {name: c[k : k + 1] for name, c in canaries.items()})
            for k in range(len(self.guard.canaries.names))
        ]
        return torch.stack(pushes).amax(0) / norm_B(grads).clamp(min=1.0)

    @cached_property
    def _heldout_rows(self) -> Chunk:
        return token_rows([self.chunks(text)[0].targets_BT[0].tolist() for text in self.heldout], self._bos)

    @cached_property
    def _bos(self) -> int:
        return int(self.chunks("a")[0].tokens_BT[0, 0])


def without(policy: Policy, defence: str) -> Policy:
    """The policy with some of the ``DEFENCES`` off: "gate", "gate+spfw", "all" or "none"."""
    names = DEFENCES if defence == "all" else () if defence == "none" else tuple(defence.split("+"))
    changes: dict[str, object] = {}
    for name in names:
        if name == "gate":
            gate = policy.gate or GatePolicy()
            changes["gate"] = GatePolicy(
                **{rule: getattr(gate, rule).model_copy(update={"mode": "off"}) for rule in GatePolicy.model_fields}
            )
        elif name in DEFENCES:
            changes[name] = getattr(policy, name).model_copy(update={"mode": "off"})
        else:
            raise ValueError(f"defence {name!r} is not known: use {', '.join(DEFENCES)}, all or none")
    if names:
        changes["name"] = f"{policy.name} without {defence}"[:64]
    return policy.model_copy(update=changes)
