"""What the guard enforces: one frozen config, torch-free, shared by YAML, CLI, HTTP and the dashboard's form."""

from pydantic import BaseModel, ConfigDict, Field

from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.mode import Mode


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AuditPolicy(_Config):
    """Canary losses (nats per token) on the candidate weights against those before the write."""

    mode: Mode = "enforce"
    max_delta: float = Field(default=0.05, gt=0, description="most that a canary may rise in one chunk (nats)")
    max_z: float = Field(default=8.0, gt=0, description="the same in robust standard deviations")
    min_history: int = Field(default=8, ge=2, description="accepted writes before the z rule may fire")
    window: int = Field(default=64, ge=8, description="accepted writes that the robust z looks back on")
    spread_floor: float = Field(default=0.005, gt=0, description="least spread (nats): a MAD of 0 must not fire")


class DriftPolicy(_Config):
    """Cumulative rise of the canary losses against the root session's initial state, in nats per token."""

    mode: Mode = "enforce"
    budget: float = Field(default=0.15, gt=0, description="most that a canary may stand above its initial loss (nats)")


class CusumPolicy(_Config):
    """A sequential test (Page, 1954) on each canary's rises: many small harmful writes, each below the audit's bar."""

    mode: Mode = "enforce"
    slack: float = Field(default=0.005, ge=0, description="rise a chunk that is let pass without counting (nats)")
    limit: float = Field(default=0.2, gt=0, description="most that the sum of what exceeds the slack may reach (nats)")


class SpfwPolicy(_Config):
    """Projection of the proposed delta onto the half-spaces in which no canary's loss rises to first order.

    What the first order does not see grows with the square of the step: a projected write on which a canary still
    rises by more than ``max_rise`` is shortened until none does.
    """

    mode: Mode = "enforce"
    max_rise: float = Field(default=0.01, gt=0, description="a projected write is shortened to this rise (nats)")


class Policy(_Config):
    """Every check of a :class:`~fastweights.guard.guard.Guard`. Non-finite values always block, under any policy."""

    name: str = Field(default="default", max_length=64)
    audit: AuditPolicy = AuditPolicy()
    drift: DriftPolicy = DriftPolicy()
    cusum: CusumPolicy = CusumPolicy()
    spfw: SpfwPolicy = SpfwPolicy()
    gate: GatePolicy | None = Field(default=None, description="of text; default: the shipped limits for its tokens")
