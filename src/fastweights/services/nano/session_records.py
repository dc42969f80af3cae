"""The JSON of Nano's sessions that both the command line and the HTTP API speak. Torch-free."""

from typing import Literal

from pydantic import Field

from fastweights.data.physics import Mode
from fastweights.services.nano.records import NanoSetting
from fastweights.services.records import ID_PATTERN, Record

MAX_STEPS = 20_000
MAX_ROWS = 20_000


class NanoSignature(Record):
    """What a session descends from. ``config_sha256``: of the model's sizes and the session's options as canonical
    JSON; ``base_sha256``: of the base model's checkpoint."""

    parent_session: str | None
    root_session: str
    config_sha256: str
    base_sha256: str


class NewNanoSession(NanoSetting):
    """Body of ``POST /api/sessions``, and the flags of ``nano session new``."""

    session_id: str | None = Field(default=None, pattern=ID_PATTERN, description="default: a fresh one")

    def setting(self) -> NanoSetting:
        return NanoSetting.model_validate(self.model_dump(exclude={"session_id"}, exclude_unset=True))


class NanoSteps(Record):
    """Body of a run: how many steps the session goes on."""

    steps: int = Field(default=1000, ge=1, le=MAX_STEPS)


class NanoSession(Record):
    """A session of Nano. ``model``: its base model, one a mode; ``root``: its initial commit; ``n_turns``: runs that
    its state has seen."""

    session_id: str
    model: Mode
    options: NanoSetting
    signature: NanoSignature
    head: str
    root: str
    n_turns: int
    title: str
    parent_session: str | None
    forked_from: str | None
    tags: dict[str, str]
    created_at: str
    updated_at: str
    state_bytes: int
    drift: float | None


class NanoMetrics(Record):
    """A run's figures: ``metrics.json`` has those of the latest run. Mean squared errors over its steps, None where a
    value was not finite: ``baseline`` base/no-update, ``session_frozen`` session/no-update (the weights that the run
    began with), ``adaptive`` session/with-updates. Steps count from the start of the world; ``last_100``: over the last
    100 steps, or all of a shorter run."""

    run_id: str
    steps: int
    from_step: int
    to_step: int
    baseline_mse: float | None
    session_frozen_mse: float | None
    adaptive_mse: float | None
    oracle_mse: float | None
    mean_mu_mse: float | None
    last_100_baseline_mse: float | None
    last_100_session_frozen_mse: float | None
    last_100_adaptive_mse: float | None
    committed: int
    blocked: int
    rolled_back: int
    drift: float | None


class NanoSessionRun(NanoMetrics):
    """A run of a session: its commit and its figures. ``turn`` counts the runs that the state has seen; ``session_id``
    made it (a fork shows the runs of the session that it was forked from); ``stopped``: "cancelled" where whoever asked
    for it went away; ``reverted``: the session's state has not learned from it."""

    session_id: str | None
    commit: str
    turn: int
    created_at: str
    stopped: Literal["steps", "cancelled"]
    seconds: float
    reverted: bool = False


class NanoSessionDetail(NanoSession):
    """One session with the runs on the path to its state, oldest first. ``step``: where its world stands; ``mu``: the
    friction, which the model does not see; ``writes``: that its state has taken."""

    step: int
    mu: float
    writes: int
    runs: list[NanoSessionRun]


class NanoRows(Record):
    """Steps of a run as columns (those of ``per_step.csv``); None where a value was not finite. ``total``: steps of the
    whole run, of which these begin at ``offset``."""

    run_id: str
    offset: int
    total: int
    t: list[int]
    baseline_mse: list[float | None]
    adaptive_mse: list[float | None]
    did_update: list[bool]
    update_ok: list[bool]
    session_frozen_mse: list[float | None]
    oracle_mse: list[float | None]
    mean_mu_mse: list[float | None]


class MatrixChange(Record):
    """From another state's matrix to this one; ``relative`` to the other's norm (None where it is 0)."""

    l2: float
    max: float
    mean: float
    relative: float | None


class NanoMatrix(Record):
    """A plastic matrix with what it is compared with, row by row. ``singular_values``: largest first;
    ``effective_rank``: exp of the entropy of their shares (Roy and Vetterli 2007), 0 for a matrix of zeros."""

    name: str
    shape: tuple[int, int]
    values: list[list[float]]
    base: list[list[float]]
    against: list[list[float]] | None
    norm: float
    singular_values: list[float]
    effective_rank: float
    from_base: MatrixChange
    from_against: MatrixChange | None


class NanoWeights(Record):
    """``W_u``, ``B`` and ``W_o`` at a commit. ``against``: the commit that they are compared with beside the base's
    (the parent unless another is asked for; None for the initial one)."""

    session_id: str
    commit: str
    short: str
    against: str | None
    matrices: list[NanoMatrix]
