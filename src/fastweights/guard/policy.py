"""What the guard enforces: one frozen config, torch-free, shared by YAML, CLI, HTTP and the dashboard's form."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["off", "observe", "enforce"]
"""``off``: not computed. ``observe``: measured and reported, never decides. ``enforce``: a failed check refuses the write."""


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CanaryAudit(_Config):
    """Canary losses (nats per token) on the candidate weights against those before the write."""

    mode: Mode = "enforce"
    max_delta: float = Field(0.25, gt=0, description="refuse when any canary rises by more than this in one chunk (nats)")
    max_z: float = Field(8.0, gt=0, description="refuse when the rise is this many robust standard deviations")
    min_history: int = Field(8, ge=2, description="accepted writes before the z rule may fire")
    window: int = Field(64, ge=8, description="accepted writes that the robust z looks back on")
    spread_floor: float = Field(0.005, gt=0, description="least spread (nats) of the z rule: a MAD of 0 must not fire it")


class DriftBudget(_Config):
    """Cumulative rise of the canary losses against the root session's initial state, in nats per token."""

    mode: Mode = "enforce"
    budget: float = Field(1.0, gt=0, description="refuse a write that lifts any canary this far above its initial loss (nats)")


class Spfw(_Config):
    """Projection of the proposed delta onto the half-spaces in which no canary's loss rises to first order."""

    mode: Mode = "off"


class Policy(_Config):
    """Every check of a :class:`~fastweights.guard.guard.Guard`. Non-finite values always block, under any policy."""

    name: str = Field("default", max_length=64)
    audit: CanaryAudit = CanaryAudit()
    drift: DriftBudget = DriftBudget()
    spfw: Spfw = Spfw()
