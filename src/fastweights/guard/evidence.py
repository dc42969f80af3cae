"""What a check may look at, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fastweights.core.learner import Proposal
from fastweights.core.state import Chunk, Weights
from fastweights.guard.mode import Mode
from fastweights.guard.state import GuardState

Stage = Literal["input", "proposal", "candidate"]


@dataclass(frozen=True)
class Evidence:
    """All that is known at a check's stage; later stages fill in more. Losses in nats, norms L2 over all weights."""

    chunk: Chunk
    guard: GuardState
    # from the proposal stage on
    proposal: Proposal | None = None
    loss: float | None = None
    grad_norm: float | None = None
    attempted_norm: float | None = None
    # from the candidate stage on: canary losses before the write and on the candidate
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    canary_grads: Weights | None = None  # stacked [n, ...] by weight, under the weights before


@dataclass(frozen=True)
class Verdict:
    """``reasons`` are plain sentences, empty when ok; ``numbers`` are the check's figures, whatever the verdict."""

    ok: bool
    reasons: tuple[str, ...] = ()
    numbers: Mapping[str, float | None] = field(default_factory=dict)


class Check(Protocol):
    """A pure judgement at one stage; all history comes from ``evidence.guard``."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> Stage: ...
    @property
    def mode(self) -> Mode: ...

    def __call__(self, evidence: Evidence) -> Verdict: ...


class Projector(Protocol):
    """Edits a proposed delta before the candidate is judged."""

    @property
    def mode(self) -> Mode: ...

    def __call__(self, proposal: Proposal, canary_grads: Mapping, /) -> Proposal: ...
