"""The JSON that both the command line and the HTTP API speak. Torch-free."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.guard.event import Event
from fastweights.guard.policy import Policy
from fastweights.guard.shipped import default_policy
from fastweights.models.memory.names import DEFAULT, RULED, MemoryName

Identifier = str
ModelStatus = Literal["training", "ready", "sleep_candidate", "rejected", "failed", "cancelled", "interrupted"]
ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


MAX_CHUNK = 4096
POLICY_OF_MODEL: Any = Field(
    default_factory=lambda given: default_policy(given.get("model")),
    description="default: the policy that ships for the model, else the plain one",
)
"""A ``policy`` field after a ``model`` field."""


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- sessions


RULE_OPTIONS = ("rule", "lr", "momentum", "clip", "inner_steps")
"""The options that say by which rule a session or a monitor writes."""
BY_RULE: tuple[MemoryName, ...] = ("linear", "low_rank", "head")
"""The memories that write so; the others have rules of their own."""


class SessionOptions(Record):
    """How a session learns. The body of ``POST /api/text/sessions`` and the flags of ``session new``."""

    model: str | None = Field(
        default=None, pattern=ID_PATTERN, description="default: the latest usable one, never a candidate"
    )
    memory: MemoryName = Field(
        default=DEFAULT,
        description="linear, low_rank: context nets; head; delta; ngram; mix. With a rule given and no memory: linear",
        json_schema_extra={"x-by-rule": list(BY_RULE)},
    )
    rank: int = Field(default=16, ge=1, le=256, description="of the low_rank memory")
    rule: Literal["sgd", "muon"] = "sgd"
    lr: float = Field(default=0.1, gt=0, le=100)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0, le=1e6, description="longest gradient that sgd takes whole (L2)")
    inner_steps: int = Field(default=1, ge=1, le=16, description="rule steps a chunk; one proposal, one guard decision")
    chunk_tokens: int = Field(
        default=64,
        ge=1,
        le=MAX_CHUNK,
        description="tokens before each write; of TTT-E2E default: the model's chunk",
    )
    policy: Policy = POLICY_OF_MODEL

    @model_validator(mode="after")
    def _memory_of_a_rule(self) -> "SessionOptions":
        if "memory" not in self.model_fields_set and self.model_fields_set & {"rank", *RULE_OPTIONS}:
            self.memory = RULED
        return self

    def for_model(self, model: str, spfw: bool | None = None) -> "SessionOptions":
        """The same of a model, with its policy where none was given; ``spfw`` enforces or switches off SPFW in it."""
        options = SessionOptions.model_validate({**self.model_dump(exclude_unset=True), "model": model})
        if spfw is None:
            return options
        mode = options.policy.spfw.model_copy(update={"mode": "enforce" if spfw else "off"})
        return options.model_copy(update={"policy": options.policy.model_copy(update={"spfw": mode})})


class Sampling(Record):
    """How a reply is drawn."""

    max_new_tokens: int = Field(default=128, ge=1, le=4096)
    temperature: float = Field(default=0.8, ge=0, le=10, description="0 is greedy")
    top_p: float = Field(default=0.95, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**63)
    stop: list[str] = Field(default_factory=list, max_length=8)


class Turn(Record):
    """One answered message; a frozen one has the commit that it was answered from.

    ``frozen_reply``: the same prompt and seed without any fast weight, where asked for. ``retold``: a revert of another
    turn drew the reply anew. ``reverted_by``: the revert that took this turn back; reverting that takes it up again."""

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
    warning: str | None = None  # the turn in which a TTT model came past the length that it was trained on
    retold: bool = False
    reverted_by: str | None = None


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
    """One session with the turns that its head has seen. ``reverted``: those that it has not, since a revert took them
    back; ``n_turns`` counts both."""

    turns: list[Turn]
    reverted: list[Turn] = []


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
    own_rule: bool  # learns as it reads by a rule of its own: a session of it has no memory and no rule to choose
    shipped: bool = False  # comes with the package, not from the store
    parent: str | None = None  # the base that a sleep candidate came from


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
    mfu: float | None = None  # share of the device's peak; null where that is not known
    eta_s: float
    cpu_seconds: float
    val_bpb_off: float | None = None  # of TTT-E2E models, what follows: on text, nothing learned while reading
    far: float | None = None  # KV retrieval: share of right answers, by where the record lies
    near: float | None = None
    inner_loss: list[float | None] | None = None  # nats per token of each chunk, along a sequence
    inner_loss_off: list[float | None] | None = None  # the same, nothing learned while reading
    inner_rates: dict[str, float | None] | None = None  # learned, by tensor


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
    """What to continue, and how. The fields of ``sampling`` may also stand beside ``prompt``."""

    model_id: str | None = Field(default=None, pattern=ID_PATTERN)
    prompt: str = Field(default="", max_length=65536)
    prompt_tokens: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, max_length=1_048_576, description="token ids in place of a prompt; read as they are, without bos"
    )
    sampling: Sampling = Sampling()

    @model_validator(mode="after")
    def _one_prompt(self) -> "GenerateRequest":
        if self.prompt and self.prompt_tokens is not None:
            raise ValueError("give prompt or prompt_tokens, one of the two")
        return self

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        beside = set(data) & set(Sampling.model_fields) if isinstance(data, dict) else set()
        if not beside or "sampling" in data:
            return data
        rest = {name: value for name, value in data.items() if name not in beside}
        return {**rest, "sampling": {name: data[name] for name in beside}}


class Generation(Record):
    model_id: str
    prompt: str
    completion: str
    tokens: int
    token_ids: list[int] = []  # those drawn
    stopped: Literal["length", "stop", "eos", "cancelled"]
    seconds: float
