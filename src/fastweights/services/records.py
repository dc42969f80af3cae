"""The JSON that both the command line and the HTTP API speak. Torch-free."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fastweights.guard.event import Event
from fastweights.guard.policy import Policy

Identifier = str
ModelStatus = Literal["training", "ready", "sleep_candidate", "failed", "cancelled", "interrupted"]
ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- sessions


class SessionOptions(Record):
    """How a session learns. The body of ``POST /api/text/sessions`` and the flags of ``session new``."""

    model: str | None = Field(
        default=None, pattern=ID_PATTERN, description="default: the latest usable one, never a candidate"
    )
    memory: Literal["linear", "low_rank"] = "linear"
    rank: int = Field(default=16, ge=1, le=256, description="of the low_rank memory")
    rule: Literal["sgd", "muon"] = "sgd"
    lr: float = Field(default=0.1, gt=0, le=100)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0, le=1e6, description="longest gradient that sgd takes whole (L2)")
    inner_steps: int = Field(default=1, ge=1, le=16, description="rule steps a chunk; one proposal, one guard decision")
    chunk_tokens: int = Field(default=64, ge=1, le=4096)
    policy: Policy = Policy()


class Sampling(Record):
    """How a reply is drawn."""

    max_new_tokens: int = Field(default=128, ge=1, le=4096)
    temperature: float = Field(default=0.8, ge=0, le=10, description="0 is greedy")
    top_p: float = Field(default=0.95, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    stop: list[str] = Field(default_factory=list, max_length=8)


class Turn(Record):
    """One answered message. ``frozen_reply``: the same prompt and seed without any fast weight, where asked for."""

    turn: int
    commit: str
    prompt: str
    reply: str
    frozen_reply: str | None = None
    sampling: Sampling
    learned: bool  # False where the turn ran with frozen=True (reads and answers, writes nothing)
    stopped: Literal["length", "stop", "eos", "cancelled"]
    prompt_tokens: int
    reply_tokens: int
    events: list[Event]
    drift: float | None
    created_at: str
    seconds: float


class SessionInfo(Record):
    """One row of the list of sessions."""

    session_id: str
    kind: Literal["text"] = "text"
    model: str
    options: SessionOptions
    head: str
    n_turns: int
    title: str  # start of the first prompt
    parent_session: str | None
    forked_from: str | None  # commit
    created_at: str
    updated_at: str
    state_bytes: int
    drift: float | None


class SessionDetail(SessionInfo):
    """One session with the turns on the path from its initial state to its head."""

    turns: list[Turn]


class CommitInfo(Record):
    """One line of ``session log``."""

    commit: str
    parent: str | None
    kind: Literal["init", "turn", "reset"]
    turn: int
    summary: str
    committed: int
    blocked: int
    rolled_back: int
    drift: float | None
    created_at: str


# ---------------------------------------------------------------- models and training


class ModelInfo(Record):
    model_id: str
    kind: str
    status: ModelStatus
    created_at: str
    params: int
    bytes: int
    step: int
    steps: int
    val_bpb: float | None
    corpus: dict[str, Any]
    tokenizer: dict[str, Any]
    preset: str | None
    seed: int
    shipped: bool = False  # comes with the package, not from the store


class TrainRequest(Record):
    """Body of ``POST /api/text/train``; the flags of ``fastweights train``."""

    preset: str = Field(default="laptop", max_length=64)
    corpus: str | None = Field(
        default=None, max_length=4096, description="path or named corpus; default: training_data/, else tiny"
    )
    model_id: str | None = Field(default=None, pattern=ID_PATTERN)
    tokenizer: str | None = Field(default=None, max_length=4096)
    steps: int | None = Field(default=None, ge=1, le=10_000_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    resume: str | None = Field(
        default=None,
        pattern=ID_PATTERN,
        description="interrupted or cancelled model to go on with",
    )


class TrainPoint(Record):
    """One row of ``train_log.jsonl``."""

    step: int
    loss: float  # nats per token, mean since the last row
    val_bpb: float | None = None
    grad_norm: float
    lr: float
    tokens_per_s: float
    eta_s: float
    cpu_seconds: float


class TrainJob(Record):
    model_id: str
    status: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    preset: str | None
    step: int
    steps: int
    pid: int | None
    resumable: bool
    error: str | None
    created_at: str
    updated_at: str
    last: TrainPoint | None


class GenerateRequest(Record):
    model_id: str | None = Field(default=None, pattern=ID_PATTERN)
    prompt: str = Field(default="", max_length=65536)
    sampling: Sampling = Sampling()


class Generation(Record):
    model_id: str
    prompt: str
    completion: str
    tokens: int
    stopped: Literal["length", "stop", "eos", "cancelled"]
    seconds: float
