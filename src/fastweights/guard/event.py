"""What one ``Guard.step`` reports: a strict-JSON record (no NaN, no infinity), torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Decision = Literal["committed", "blocked", "rolled_back"]


class CanaryFigures(BaseModel):
    """One canary's mean loss in nats per token; ``None`` where the value was not finite."""

    model_config = ConfigDict(extra="forbid")

    name: str
    before: float | None
    after: float | None
    delta: float | None
    drift: float | None


class CheckResult(BaseModel):
    """One check's verdict; it decides only where ``mode`` is ``enforce``."""

    model_config = ConfigDict(extra="forbid")

    check: str
    stage: Literal["input", "proposal", "candidate"]
    mode: Literal["observe", "enforce"]
    ok: bool
    reasons: list[str]
    numbers: dict[str, float | None]


class Event(BaseModel):
    """One chunk through the guard. Losses are nats per token; norms are L2 over all fast weights."""

    model_config = ConfigDict(extra="forbid")

    chunk_index: int
    token_start: int
    token_end: int
    chunk_preview: str
    decision: Decision
    reasons: list[str]
    loss: float | None  # under the weights before; of a committed write of a step a token, under its steps so far
    loss_after: float | None  # the same chunk under the weights that were kept
    grad_norm: float | None
    attempted_update_norm: float | None
    update_norm: float  # what was really written: 0 unless committed
    projected_fraction: float | None  # share of the attempted update's norm that SPFW removes, or would
    canaries: list[CanaryFigures]
    canary_delta: float | None  # the largest rise
    canary_delta_z: float | None
    canary_grad_norm: float | None  # of the mean canary gradient
    grad_canary_cos: float | None  # positive: an SGD step on this chunk lowers the canary losses
    grad_canary_dot: float | None
    drift: float | None  # the largest rise against the session's origin
    cusum: float  # one-sided cumulative sum of the committed canary rises, nats
    checks: list[CheckResult]
    step: int  # writes committed so far, this one included
