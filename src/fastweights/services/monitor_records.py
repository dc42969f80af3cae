"""The monitor's JSON: what is asked for, each chunk, and the run. Torch-free."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fastweights.guard.event import Event
from fastweights.guard.policy import Policy
from fastweights.services.records import ID_PATTERN, MAX_CHUNK, POLICY_OF_MODEL, Record


class MonitorThresholds(Record):
    """Flags: they report, they refuse nothing."""

    abs_grad_norm: float | None = Field(
        default=None, gt=0, description="default: 4 times what the policy was calibrated to as typical, else no limit"
    )
    abs_update_norm: float | None = Field(
        default=None, gt=0, description="of the attempted update; default: no limit, its robust z alone"
    )
    robust_z: float = Field(default=6.0, gt=0, description="of gradient or update norm over the last 64 chunks")


class MonitorOptions(Record):
    """How a text is monitored."""

    model: str = Field(default="toy", pattern=ID_PATTERN, description="toy, or a model id")
    backbone: Literal["ssm", "gru"] = Field(default="ssm", description="of the toy")
    objective: Literal["ar", "mlm"] = Field(default="ar", description="next token, or (toy only) masked tokens")
    chunk_tokens: int = Field(
        default=128,
        ge=1,
        le=MAX_CHUNK,
        description="tokens before each write; of TTT-E2E default: the model's chunk",
    )
    rule: Literal["sgd", "muon"] = "sgd"
    lr: float = Field(default=0.05, gt=0, le=100)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0, le=1e6, description="longest gradient that sgd takes whole (L2)")
    inner_steps: int = Field(default=1, ge=1, le=16)
    policy: Policy = POLICY_OF_MODEL
    flags: MonitorThresholds = MonitorThresholds()
    influence: bool = Field(default=False, description="each chunk's most influential tokens: one more pass")
    updates: bool = Field(default=True, description="false: everything is measured, nothing is written")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the toy's weights and of the masks")

    @model_validator(mode="after")
    def _supported(self) -> "MonitorOptions":
        if self.objective == "mlm" and self.model != "toy":
            raise ValueError(f"objective mlm needs model toy, model {self.model!r} predicts the next token: use ar")
        return self


class MonitorRequest(MonitorOptions):
    """Body of ``POST /api/text/runs``: options and a text, or the name of a built-in demo."""

    text: str | None = Field(default=None, max_length=262_144)
    demo: Literal["demo", "high_entropy"] | None = None
    canary_text: list[Annotated[str, Field(min_length=1, max_length=8192)]] | None = Field(
        default=None, min_length=1, max_length=8, description="in place of the shipped canaries; never stored or logged"
    )

    @model_validator(mode="after")
    def _one_input(self) -> "MonitorRequest":
        if (self.text is None) == (self.demo is None):
            raise ValueError("give text or demo, one of the two")
        return self

    def options(self) -> MonitorOptions:
        given = self.model_fields_set & MonitorOptions.model_fields.keys()
        return MonitorOptions(**{name: getattr(self, name) for name in given})


class MonitorEvent(Event):
    """One chunk: the guard's event, and what the monitor adds. ``reasons``: refusals, then flags."""

    flagged: bool
    grad_z: float | None
    update_z: float | None
    gate_allowed: bool
    gate_reasons: list[str]
    update_skipped: bool  # blocked by the gate, or updates are off
    rollback_triggered: bool
    rollback_reasons: list[str]
    canary_loss_before: float | None  # mean over the canaries; canary_delta is the largest rise
    canary_loss_after: float | None
    token_entropy: float | None  # bits
    token_diversity: float | None  # distinct / all
    compression_ratio: float | None  # zlib bytes / bytes
    top_influence_tokens: list[tuple[str, float]]
    backbone: str
    objective: Literal["ar", "mlm"]


class MonitorSummary(Record):
    """``cpu_seconds``: of the whole process; ``tokens_per_cpu_second``: of the reading alone."""

    file: str | None
    model: str
    policy: str
    updates: bool
    chunks: int
    committed: int
    blocked: int
    rolled_back: int
    flagged: int
    tokens: int
    loss_mean: float | None  # nats per token, each under the weights before it
    drift: float | None  # largest rise of a canary since the start, at the end
    cpu_seconds: float
    tokens_per_cpu_second: float | None
    warning: str | None = None  # a TTT model read past the length that it was trained on


class MonitorRun(Record):
    """One run of the store. ``source``: text, stdin, a demo's name, or the file's."""

    run_id: str
    status: Literal["running", "done", "failed", "cancelled", "interrupted"]
    source: str
    request: MonitorOptions
    own_canaries: int  # how many canaries of the user's own; their text is not kept
    summary: MonitorSummary | None
    input_bytes: int
    input_sha256: str | None
    input_kept_bytes: int  # input.txt holds the first so many
    error: str | None
    created_at: str
    updated_at: str


class MonitorRunDetail(MonitorRun):
    """A run with its events, or a page of them; ``more``: there are later ones."""

    events: list[MonitorEvent]
    more: bool
