"""Checks of a learner that can read a chunk again under candidate weights: gradient cap, regression, state bound."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from fastweights.core.state import Chunk, FastState
from fastweights.guard.evidence import Check, Evidence, Stage, Verdict
from fastweights.guard.mode import Mode
from fastweights.guard.regression_policy import GradientCapPolicy, NanoPolicy, RegressionPolicy, StateBoundPolicy


class Reread(NamedTuple):
    """A chunk read under some weights: its loss, and the largest absolute hidden state on the way."""

    loss: float
    max_state: float


Read = Callable[[FastState, Chunk], Reread]


@dataclass(frozen=True)
class GradientCap:
    """Refuses a write whose gradient is too long: what was read is nothing like what the model knows."""

    policy: GradientCapPolicy
    name: str = "gradient_cap"
    stage: Stage = "proposal"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        norm, limit = evidence.grad_norm, self.policy.limit
        ok = norm is None or not norm > limit  # Finite refuses NaN
        reason = f"gradient norm is {norm:.4g} (limit {limit:g})"
        return Verdict(ok, () if ok else (reason,), {"grad_norm": norm, "limit": limit})


def _pair(read: Read, evidence: Evidence) -> tuple[Reread, Reread]:
    """The proposal's chunk under the weights (before, after) the write."""
    proposal = evidence.proposal
    assert proposal is not None
    after = replace(proposal.after, carry=proposal.before.carry)
    return read(proposal.before, evidence.chunk), read(after, evidence.chunk)


@dataclass(frozen=True)
class LossRegression:
    """Refuses a write after which the very steps it was made from are predicted worse."""

    policy: RegressionPolicy
    read: Read
    name: str = "loss_regression"
    stage: Stage = "candidate"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        pre, post = (one.loss for one in _pair(self.read, evidence))
        limit = max(self.policy.ratio * pre, self.policy.floor)
        ok = post <= limit  # not finite: refused
        reason = f"replayed loss would go from {pre:.4g} to {post:.4g} (limit {limit:.4g})"
        return Verdict(ok, () if ok else (reason,), {"pre": pre, "post": post, "limit": limit})


@dataclass(frozen=True)
class StateBound:
    """Refuses a write under which a hidden state leaves its bounds."""

    policy: StateBoundPolicy
    read: Read
    name: str = "state_bound"
    stage: Stage = "candidate"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        pre, post = (one.max_state for one in _pair(self.read, evidence))
        ok = math.isfinite(post) and post <= self.policy.limit
        reason = f"largest hidden state would be {post:.4g} (limit {self.policy.limit:g})"
        return Verdict(ok, () if ok else (reason,), {"pre": pre, "post": post, "limit": self.policy.limit})


def regression_checks(policy: NanoPolicy, read: Read) -> tuple[Check, ...]:
    """The three of them, for a learner that ``read`` reads again (twice for the same pair: let it remember)."""
    return GradientCap(policy.gradient), LossRegression(policy.regression, read), StateBound(policy.state, read)
