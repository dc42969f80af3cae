"""Sleep's JSON, which both the command line and the HTTP API speak. Torch-free."""

from typing import Literal

from pydantic import Field, model_validator

from fastweights.data.physics import Mode
from fastweights.services.records import ID_PATTERN, Identifier, Record

SleepMode = Literal["replay", "delta"]
CandidateStatus = Literal["running", "failed", "cancelled", "interrupted", "sleep_candidate", "ready", "rejected"]
Decision = Literal["approve", "reject", "revert"]


class SleepRequest(Record):
    """Body of ``POST /api/sleep``; the flags of ``fastweights sleep``."""

    mode: SleepMode = Field(
        default="delta",
        description="replay: train on what the sessions said; delta: distil what their fast weights know, selectively",
    )
    base_model_id: str | None = Field(default=None, pattern=ID_PATTERN, description="default: the latest usable one")
    model_id: str | None = Field(default=None, pattern=ID_PATTERN, description="of the candidate; default: a fresh id")
    sessions: list[Identifier] | None = Field(default=None, min_length=1, max_length=1000, description="default: all")
    max_memories: int = Field(default=200, ge=1, le=100_000, description="turns that are harvested, the latest first")
    core_path: str | None = Field(
        default=None, max_length=4096, description="text that must not be forgotten; default: what the base learned"
    )
    core_ratio: float = Field(default=0.5, gt=0, lt=1, description="share of core text among what is trained on")
    seq_len: int | None = Field(
        default=None, ge=8, le=4096, description="tokens of a sequence; default: 128, or what there is"
    )
    train_steps: int = Field(default=200, ge=1, le=100_000)
    lr: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="of Muon (replay: 0.0002), or of row-wise Adagrad (delta: 0.2; of TTT and TTT-E2E models 0.01)",
    )
    max_core_rise: float = Field(
        default=0.01, gt=0, le=10, description="bits per byte that core text may lose (delta; Nano: share of its MSE)"
    )
    seed: int = Field(default=0, ge=0, lt=2**31)
    nano: Mode | None = Field(default=None, description="consolidate the Nano sessions of this mode instead")

    @model_validator(mode="after")
    def _of_one_kind(self) -> "SleepRequest":
        fields = type(self).model_fields  # as values, not as what was set: a stored request names every field
        given = [name for name in _TEXT_ONLY if getattr(self, name) != fields[name].default]
        if self.nano is not None and given:
            raise ValueError(f"{min(given)} is for text sessions, and nano is {self.nano!r}: leave one of them out")
        return self


_TEXT_ONLY = {"mode", "base_model_id", "max_memories", "core_path", "core_ratio", "seq_len", "train_steps", "lr"}


class SleepTurn(Record):
    """A turn (or a run of Nano) that was harvested."""

    turn: int
    commit: str
    preview: str  # start of the prompt; of Nano what the run read


class SleepSource(Record):
    """A session and what was taken of it; ``head``: the commit whose fast weights taught (delta)."""

    session_id: str
    memory: str  # of Nano: the rule
    head: str
    turns: list[SleepTurn]
    tokens: int  # of Nano: steps


class SleepRetention(Record):
    """The prompts of one session, read from a fresh start, in the manifest's ``unit``.

    ``adapted``: the base with the session's fast weights (of a frozen one: its own); ``closed``: which share of the gap
    between ``base`` and ``adapted`` the candidate closes without any; None where the fast weights gained nothing."""

    session_id: str
    tokens: int
    base: float
    adapted: float
    candidate: float
    closed: float | None


class SleepForgetting(Record):
    """What must not be forgotten, before and after. Core text in bits per byte, canaries in nats per token, of Nano
    mean squared errors."""

    name: str
    kind: Literal["core", "canary", "world"]
    before: float
    after: float
    rise: float


class SleepPart(Record):
    """A tensor, or some rows of one, and how much of what was learned of it was kept."""

    name: str
    params: int
    importance: float | None  # of rows: share of core text's places that read one
    change: float  # L2 norm of what was learned
    scale: float  # the share of it that was kept
    gain: float | None  # what this part alone gains on the traces, nats per token
    cost: float | None  # what it alone costs on core text, nats per token


class SleepWrite(Record):
    """One decision of the guard on what was learned in some steps (delta)."""

    step: int  # after it
    decision: Literal["committed", "blocked", "rolled_back"]
    reasons: list[str]
    loss: float | None
    update_norm: float
    canary_delta: float | None
    drift: float | None


class SleepManifest(Record):
    """``sleep_manifest.json``: all that speaks for or against a candidate. ``core_*`` and ``mix_*``: bits per byte of
    held-out core text and of what was trained on (traces and core text, mixed)."""

    model_id: str
    kind: Literal["text", "nano"]
    mode: SleepMode
    base_model_id: str
    base_sha256: str
    checkpoint_sha256: str
    created_at: str
    request: SleepRequest
    core: str  # name of the core text
    core_train_bytes: int
    core_heldout_bytes: int
    core_before: float
    core_after: float
    mix_before: float
    mix_after: float
    unit: str  # of the retention table
    retention: float | None  # share of the gap closed, all sessions together
    steps: int
    sources: list[SleepSource]
    retention_rows: list[SleepRetention]
    forgetting_rows: list[SleepForgetting]
    parts: list[SleepPart]
    writes: list[SleepWrite]
    cpu_seconds: float
    notes: list[str]


class SleepCandidate(Record):
    """One row of the list: a candidate, or a run that is to become one.

    ``status``: running, failed, cancelled, interrupted (no model yet); sleep_candidate, ready (approved), rejected."""

    model_id: str
    kind: Literal["text", "nano"]
    status: CandidateStatus
    mode: SleepMode
    base_model_id: str | None
    created_at: str
    decided_at: str | None
    retention: float | None
    core_before: float | None
    core_after: float | None
    sessions: int
    turns: int
    stage: str | None  # what a run is doing
    error: str | None


class SleepEvidence(Record):
    """``GET /api/sleep/{model_id}``; ``manifest``: None while there is no model."""

    candidate: SleepCandidate
    manifest: SleepManifest | None
