"""What the verbs on sessions of any kind speak: commits, differences, verifications. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from fastweights.store.commits import CommitKind

Status = Literal["verified", "differs", "damaged", "unverifiable"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class CommitInfo(_Record):
    """One line of ``session log``. ``short``: enough of the id to name it; ``state``: SHA-256 of its snapshot;
    ``session`` made it (a fork shows the commits of the session it was forked from); ``to``: what a reset went back
    to; ``reverted``: the turn or run that a revert took back, or (the revert of a revert) took up again;
    ``committed``, ``blocked``, ``rolled_back``: its chunks through the guard (of a revert: of those it replayed)."""

    commit: str
    short: str
    parent: str | None
    kind: CommitKind
    turn: int
    summary: str
    state: str
    session: str | None
    to: str | None
    reverted: str | None
    head: bool
    tags: list[str]
    committed: int
    blocked: int
    rolled_back: int
    drift: float | None
    created_at: str


class TagInfo(_Record):
    """A tag, and the commit that it names or (``deleted``) named."""

    session_id: str
    tag: str
    commit: str
    deleted: bool


class RowChange(_Record):
    """A row of a tensor (second axis, the first is the batch of one) and the L2 norm of its change."""

    row: int
    l2: float


class TensorChange(_Record):
    """One tensor at A and at B; ``b - a`` throughout. None where it cannot be said (a norm of 0, other shapes)."""

    name: str
    part: Literal["weights", "rule"]
    shape_a: list[int] | None
    shape_b: list[int] | None
    l2: float | None
    max: float | None
    mean: float | None
    relative: float | None
    cosine: float | None
    norm_a: float | None
    norm_b: float | None
    changed_rows: int | None
    rows: int | None
    top_rows: list[RowChange]


class NumberChange(_Record):
    """A figure of the guard or of the state at A and at B: drift, canary losses (nats), tokens read, writes."""

    name: str
    a: float | None
    b: float | None
    change: float | None


class SessionDiff(_Record):
    """From commit A to commit B. ``base``: their newest common ancestor; ``a_only``, ``b_only``: the commits since,
    newest first. ``l2``, ``max``, ``relative``, ``cosine`` are over all fast weights that both have."""

    session_id: str
    other_id: str
    a: CommitInfo
    b: CommitInfo
    base: str | None
    a_only: list[CommitInfo]
    b_only: list[CommitInfo]
    l2: float
    max: float
    relative: float | None
    cosine: float | None
    tensors: list[TensorChange]
    numbers: list[NumberChange]


class Environment(_Record):
    """What bits depend on besides the inputs."""

    fastweights: str
    torch: str
    numpy: str
    threads: int
    device: str
    cpu: str


class VerifiedCommit(_Record):
    """``verified``: recomputed, the same bit for bit. ``differs``: ``problem`` names the first mismatch, ``tensor`` the
    tensor if it is one. ``damaged``: an object cannot be read. ``unverifiable``: ``problem`` says why."""

    commit: str
    short: str
    kind: CommitKind
    turn: int
    status: Status
    problem: str | None
    tensor: str | None
    state: str
    recomputed: str | None


class Without(_Record):
    """The turn or run that ``verify`` left out, with its commit. ``reverted``: the head has not learned from it, which
    ``verify`` then certifies. ``turns``: how many others were computed, from the initial state on."""

    turn: int
    kind: CommitKind
    commit: str
    summary: str
    reverted: bool
    turns: int


class Verification(_Record):
    """Commits recomputed from their recorded inputs and their parents' states, oldest first. ``ok``: all of them are
    verified. ``notes``: how this machine differs from the one that made them.

    With ``without``: the initial commit and the head; ``recomputed`` of the head is the state of a session that never
    saw that turn, made from the initial state on. ``ok``: the head is that state bit for bit."""

    session_id: str
    ok: bool
    verified: int
    differs: int
    damaged: int
    unverifiable: int
    environment: Environment
    notes: list[str]
    without: Without | None = None
    commits: list[VerifiedCommit]
