"""The checks that every learner shares: finite numbers, canary audit, cumulative sum, drift budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fastweights.core.numerics import robust_z
from fastweights.core.state import is_finite
from fastweights.guard.canaries import largest_rise
from fastweights.guard.evidence import Evidence, Stage, Verdict
from fastweights.guard.mode import Mode
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy


@dataclass(frozen=True)
class Finite:
    """A loss, gradient, delta or canary loss that is NaN or infinite always blocks, under any policy.

    (``nan > threshold`` is False, so no other check would notice.)
    """

    stage: Stage
    name: str = "finite"
    mode: Mode = "enforce"

    def __call__(self, evidence: Evidence) -> Verdict:
        bad = [name for name, value in self._values(evidence).items() if value is not None and not math.isfinite(value)]
        proposal = evidence.proposal
        if self.stage == "candidate" and proposal is not None and not is_finite(proposal.after.rule):
            bad.append("rule state")
        return Verdict(not bad, tuple(f"{name} is not finite" for name in bad))

    def _values(self, evidence: Evidence) -> dict[str, float | None]:
        if self.stage == "proposal":
            return {
                "loss": evidence.loss,
                "gradient norm": evidence.grad_norm,
                "update norm": evidence.attempted_norm,
            }
        return {f"canary {name} loss": value for name, value in evidence.after.items()}


@dataclass(frozen=True)
class CanaryAudit:
    """Refuses a candidate on which a canary's loss rose too far at once: in nats, or in robust standard deviations."""

    policy: AuditPolicy
    unit: str = "nats"
    name: str = "canary_audit"
    stage: Stage = "candidate"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        policy = self.policy
        delta = largest_rise(evidence.after, evidence.before)
        if delta is None or not math.isfinite(delta):  # Finite refuses the latter
            return Verdict(True, (), {"delta": None, "z": None})
        z = robust_z(delta, evidence.guard.deltas, spread_floor=policy.spread_floor, min_history=policy.min_history)
        reasons = []
        if delta > policy.max_delta:
            reasons.append(f"canary loss rose by {delta:.4f} {self.unit} in one chunk (limit {policy.max_delta:g})")
        if z is not None and z > policy.max_z:
            reasons.append(f"canary rise is {z:.1f} robust deviations above its median (limit {policy.max_z:g})")
        return Verdict(not reasons, tuple(reasons), {"delta": delta, "z": z})


@dataclass(frozen=True)
class DriftBudget:
    """Refuses a candidate that lifts a canary too far above its loss at the root session's initial state.

    A write that lowers the drift passes even while it is over the budget, so a session can find its way back.
    """

    policy: DriftPolicy
    unit: str = "nats"
    name: str = "drift_budget"
    stage: Stage = "candidate"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        drift = largest_rise(evidence.after, evidence.guard.origin)
        if drift is None or not math.isfinite(drift):  # Finite refuses the latter
            return Verdict(True, (), {"drift": None})
        now = largest_rise(evidence.before, evidence.guard.origin)
        ok = drift <= self.policy.budget or (now is not None and drift < now)
        reason = (
            f"drift would reach {drift:.4f} {self.unit} above the initial canary loss (budget {self.policy.budget:g})"
        )
        return Verdict(ok, () if ok else (reason,), {"drift": drift})


def cusums_after(
    sums: Mapping[str, float], before: Mapping[str, float], after: Mapping[str, float], slack: float
) -> dict[str, float]:
    """Of each canary ``max(0, sum + rise - slack)``; unchanged where the rise is not finite."""
    found = {}
    for name, loss in before.items():
        rise, now = after.get(name, loss) - loss, sums.get(name, 0.0)
        found[name] = max(0.0, now + rise - slack) if math.isfinite(rise) else now
    return found


@dataclass(frozen=True)
class Cusum:
    """Refuses a candidate that would lift a canary's one-sided cumulative sum of rises above the limit.

    With a small slack that is how far the canary stands above the lowest that it has been: what drift against the
    origin does not see once a session has learned. A write that does not add to a sum that is too high passes, so a
    session can go on learning what does no harm.
    """

    policy: CusumPolicy
    unit: str = "nats"
    name: str = "cusum"
    stage: Stage = "candidate"

    @property
    def mode(self) -> Mode:
        return self.policy.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        now, limit = evidence.guard.cusum, self.policy.limit
        sums = cusums_after(now, evidence.before, evidence.after, self.policy.slack)
        ok = all(value <= limit or value <= now.get(name, 0.0) for name, value in sums.items())
        value = max(sums.values(), default=0.0)
        reason = f"rises of one canary add up to {value:.4f} {self.unit} beyond the slack (limit {limit:g})"
        return Verdict(ok, () if ok else (reason,), {"cusum": value})
