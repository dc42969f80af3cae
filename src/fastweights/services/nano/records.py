"""The JSON of Nano that both the command line and the HTTP API speak. Torch-free."""

from typing import Literal

from pydantic import Field

from fastweights.data.physics import Mode
from fastweights.evals.nano_records import FIRST_SEED, NanoFigures
from fastweights.models.nano_config import NanoConfig, NanoLearning, NanoPretrain, Rule
from fastweights.services.records import Record


class NanoSetting(Record):
    """A world, and how a base model learns in it."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="of the world: its mu, its actions, its noise")
    mode: Mode = "linear"
    noise: float = Field(default=0.0, ge=0, le=100, description="standard deviation of a random force, each step")
    mu: float | None = Field(default=None, ge=0, le=1, description="friction; default: what the seed draws")
    learning: NanoLearning = NanoLearning()


class NanoRunRequest(NanoSetting):
    """One trajectory, read once from the base model on."""

    steps: int = Field(default=1000, ge=1, le=1_000_000)


class NanoEvalRequest(Record):
    """Many trajectories for each rule and mode. ``rule`` and ``mode`` None: all of them."""

    seeds: int = Field(default=40, ge=1, le=10_000)
    seed: int = Field(default=FIRST_SEED, ge=0, lt=2**62, description="the first; nothing was tuned on 1000 and above")
    steps: int = Field(default=1000, ge=1, le=1_000_000)
    rule: Rule | None = None
    mode: Mode | None = None
    noise: float = Field(default=0.0, ge=0, le=100)


class NanoSleepEvalRequest(Record):
    """Sessions that sleep consolidates, each in a world of its own; see ``eval sleep --nano``."""

    sessions: int = Field(default=8, ge=1, le=1000)
    steps: int = Field(default=1024, ge=32, le=8192, description="that each session reads")
    rule: Rule | None = None
    noise: float = Field(default=0.0, ge=0, le=100)
    seed: int = Field(default=0, ge=0, lt=2**31)


class NanoBase(Record):
    """A base model: ``base_meta.json``."""

    mode: Mode
    config: NanoConfig
    pretrain: NanoPretrain
    train_mse: float  # on its own worlds, whose random force is part of it
    plastic_parameters: int
    frozen_parameters: int
    checkpoint_sha256: str
    created_at: str
    pretrain_cpu_seconds: float


class NanoUpdate(Record):
    """One transaction, after step ``t``: an entry of ``update_events.json``. Losses are mean squared errors."""

    t: int
    status: Literal["committed", "blocked", "rolled_back"]
    reasons: list[str]
    pre_loss: float | None  # of the replayed steps
    post_loss: float | None  # of the same under the candidate
    grad_norm: float | None
    pre_max_h: float | None
    post_max_h: float | None
    attempted_update_norm: float | None
    update_norm: float
    projected_fraction: float | None
    canary_delta: float | None
    drift: float | None


class NanoRun(NanoFigures):
    """A finished run. ``cpu_seconds``: of the whole process; ``steps_per_cpu_second``: reading, baselines and log."""

    run_id: str
    request: NanoRunRequest
    gap_closed: float | None  # share of the gap between frozen and oracle; None where there is none
    last_100_frozen_mse: float  # over the last 100 steps, or all of a shorter run
    last_100_adaptive_mse: float
    base_sha256: str
    steps_per_cpu_second: float
    cpu_seconds: float
    created_at: str
    files: list[str]
    notes: list[str]
