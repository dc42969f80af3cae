"""What the guard enforces of a learner of trajectories: the shared checks in units of squared error, and its own.

Torch-free. Limits of the shared checks (audit, drift, cumulative sum) are mean squared errors here, not nats.
"""

from pydantic import BaseModel, ConfigDict, Field

from fastweights.guard.mode import Mode
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, Policy, SpfwPolicy


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GradientCapPolicy(_Config):
    """The gradient of the replayed loss, L2 over all fast weights."""

    mode: Mode = "enforce"
    limit: float = Field(default=20.0, gt=0)


class RegressionPolicy(_Config):
    """The replayed loss after a write against the one before it."""

    mode: Mode = "enforce"
    ratio: float = Field(default=1.2, gt=0, description="most that the loss may grow by, as a factor")
    floor: float = Field(default=1e-5, ge=0, description="a loss below this is rounding: never refused")


class StateBoundPolicy(_Config):
    """The largest hidden state while the replayed steps are read with the candidate weights."""

    mode: Mode = "enforce"
    limit: float = Field(default=1e6, gt=0)


class NanoPolicy(_Config):
    """Every check of a Nano reader. Values that are not finite always block."""

    name: str = Field(default="nano", max_length=64)
    gradient: GradientCapPolicy = GradientCapPolicy()
    regression: RegressionPolicy = RegressionPolicy()
    state: StateBoundPolicy = StateBoundPolicy()
    audit: AuditPolicy = AuditPolicy(max_delta=0.01, spread_floor=0.001)
    cusum: CusumPolicy = CusumPolicy(slack=0.0005, limit=0.02)
    drift: DriftPolicy = DriftPolicy(budget=0.02)
    spfw: SpfwPolicy = SpfwPolicy(max_rise=0.001)

    def shared(self) -> Policy:
        """The part that :class:`~fastweights.guard.guard.Guard` reads itself."""
        return Policy(name=self.name, audit=self.audit, cusum=self.cusum, drift=self.drift, spfw=self.spfw)
