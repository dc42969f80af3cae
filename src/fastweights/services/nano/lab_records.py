"""The JSON of what the Nano pages draw and nothing stores: a simulation, the model's make-up, a session's transactions.

Torch-free.
"""

from typing import Annotated, Literal

from pydantic import Field

from fastweights.data.physics import Mode
from fastweights.models.nano_config import NanoConfig, Rule
from fastweights.services.nano.records import NanoUpdate
from fastweights.services.records import ID_PATTERN, Record

MAX_SIMULATED = 2000
Finite = float | None
"""None where a value was not finite."""
Pair = tuple[Finite, Finite]
"""Along x and along y."""


class NanoSimulate(Record):
    """Body of ``POST /api/nano/simulate``: a world from its start, read by the base model or by a session's weights.

    ``session``: whose weights, at commit ``at`` (its head); without one the base model of the mode. ``mode``: that of
    the session, else linear. ``mu``: what the seed draws. ``rule``: that of the session, else rls. ``adapt`` off: no
    weight is written.
    """

    session: str | None = Field(default=None, pattern=ID_PATTERN)
    at: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    mode: Mode | None = None
    seed: int = Field(default=0, ge=0, lt=2**63)
    mu: float | None = Field(default=None, ge=0, le=1)
    noise: float = Field(default=0.0, ge=0, le=100)
    steps: int = Field(default=500, ge=1, le=MAX_SIMULATED)
    rule: Rule | None = None
    adapt: bool = True


class NanoPrediction(Record):
    """Where something said that the body would be, one step ahead, entry for entry beside the true ``pos`` and ``vel``;
    ``mse``: squared error of each step, mean over position and velocity; ``mean_mse`` over all steps."""

    pos: list[Pair]
    vel: list[Pair]
    mse: list[Finite]
    mean_mse: Finite


class NanoSimulation(Record):
    """A simulated trajectory, one entry a step: ``pos`` and ``vel`` after it, ``action`` and ``friction`` during it. It
    begins at rest in the origin.

    ``adaptive``: the weights that learn; ``frozen``: those that it began with (the session's, or the base model's);
    ``baseline``: the base model's; ``oracle`` and ``mean_mu``: the simulator with the true and with the mean friction.
    ``did_update``: a write was judged after the step, ``update_ok``: it was committed; ``updates`` says more of each.
    ``commit``: of the session, None for the base model. ``friction``: what mu makes of it at that speed.
    """

    session_id: str | None
    commit: str | None
    mode: Mode
    seed: int
    mu: float
    noise: float
    steps: int
    rule: Rule
    adapt: bool
    t: list[int]
    action: list[Pair]
    pos: list[Pair]
    vel: list[Pair]
    friction: list[float]
    adaptive: NanoPrediction
    frozen: NanoPrediction
    baseline: NanoPrediction
    oracle: NanoPrediction
    mean_mu: NanoPrediction
    did_update: list[bool]
    update_ok: list[bool]
    updates: list[NanoUpdate]


class NanoParameter(Record):
    """A tensor of the model. ``written_by``: the rules that write to it; ``norm``: L2."""

    name: str
    shape: list[int]
    count: int
    plastic: bool
    written_by: list[Rule]
    norm: float
    role: str


class NanoNode(Record):
    """A vector of the model's graph. ``labels``: its entries by name, where they have one."""

    id: str
    label: str
    width: int
    kind: Literal["input", "state", "hidden", "output"]
    labels: list[str]


class NanoEdge(Record):
    """From one vector to another; ``parameter``: the tensor on the way, by name."""

    source: str
    target: str
    parameter: str | None
    label: str


class NanoModelInfo(Record):
    """A Nano model described by itself: the base of a mode, or a session's weights at a commit. ``a_raw``: frozen, of
    each hidden state; ``decays``: what is left of a state after a step; ``memory_steps``: how long until 1/e of it is
    left; ``rule``: of the session, else the default."""

    mode: Mode
    session_id: str | None
    commit: str | None
    config: NanoConfig
    equations: list[str]
    rule: Rule
    base_sha256: str
    plastic_count: int
    frozen_count: int
    parameters: list[NanoParameter]
    nodes: list[NanoNode]
    edges: list[NanoEdge]
    a_raw: list[float]
    decays: list[float]
    memory_steps: list[float]


class NanoTransaction(NanoUpdate):
    """An update with the run and commit that it belongs to. ``sentence``: what happened, in plain words."""

    run_id: str
    commit: str
    turn: int
    sentence: str


class NanoTransactions(Record):
    """The transactions of all runs that a session's state has seen, oldest first: ``total`` of them, of which these
    begin at ``offset``. Counts are over all. ``grad_cap``, ``loss_ratio``, ``drift_budget``: the limits of the
    session's policy (None: not enforced)."""

    session_id: str
    total: int
    offset: int
    committed: int
    blocked: int
    rolled_back: int
    grad_cap: float | None
    loss_ratio: float | None
    drift_budget: float | None
    updates: list[NanoTransaction]
