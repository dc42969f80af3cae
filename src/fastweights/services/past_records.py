"""What a text session's past is asked: who moved an answer, what broke a canary, what learning gained. Torch-free."""

from pydantic import Field

from fastweights.guard.event import Decision, Event
from fastweights.services.records import Record

MAX_PROBE = 4096
"""Characters of a probe, and of an answer."""


# ---------------------------------------------------------------- bodies


class Probe(Record):
    """A text to be predicted. ``answer``: what is to come after ``probe``; only it is counted (None: the probe is)."""

    probe: str = Field(min_length=1, max_length=MAX_PROBE)
    answer: str | None = Field(default=None, min_length=1, max_length=MAX_PROBE)


class BlameRequest(Probe):
    """Body of a blame. ``exact``: also the session's loss with each of the ``top`` turns left out (a replay each)."""

    exact: bool = False
    top: int = Field(default=5, ge=1, le=100)


class BisectRequest(Record):
    """Body of a bisection: a canary by name, or a probe (neither: the canary that stands highest above its loss at the
    start). ``threshold``: nats per token above the initial loss (default: half of the rise at the head)."""

    canary: str | None = Field(default=None, min_length=1, max_length=64)
    probe: str | None = Field(default=None, min_length=1, max_length=MAX_PROBE)
    answer: str | None = Field(default=None, min_length=1, max_length=MAX_PROBE)
    threshold: float | None = Field(default=None, ge=0, le=1000)


class RecallRequest(Record):
    """Body of a recall: what of ``answer`` the session still knows after ``probe``."""

    probe: str = Field(min_length=1, max_length=MAX_PROBE)
    answer: str = Field(min_length=1, max_length=MAX_PROBE)


# ---------------------------------------------------------------- answers


class BlamedTurn(Record):
    """A turn and what it did to the loss (nats per token; negative: it taught the answer). ``delta``: the loss after it
    minus the loss before it. ``exact_delta``: the head's loss minus that of a session that never saw the turn."""

    turn: int
    commit: str
    summary: str
    loss_before: float | None
    loss_after: float | None
    delta: float | None
    exact_delta: float | None


class Blame(Record):
    """The turns that the head has seen, those that moved the probe's (or the answer's) loss most first.

    The loss is that of ``tokens`` tokens under the fast weights of each state, read from the start as a canary is.
    """

    session_id: str
    head: str
    probe: str
    answer: str | None
    tokens: int
    loss_initial: float | None
    loss_head: float | None
    turns: list[BlamedTurn]


class BisectStep(Record):
    """A state that was looked at: turn 0 is the initial one. ``rise``: nats per token above the initial loss."""

    turn: int
    commit: str
    rise: float | None
    bad: bool


class BrokenTurn(Record):
    """The turn across which it went bad, with its chunks through the guard. ``chunk``: index in ``events`` of the write
    that did it, where the events tell (a canary's do)."""

    turn: int
    commit: str
    summary: str
    rise_before: float | None
    rise_after: float | None
    chunk: int | None
    events: list[Event]


class Bisection(Record):
    """Where a canary or a probe went bad: its loss rose more than ``threshold`` (nats per token) above the initial one.

    ``found`` None: it is not bad at the head. ``monotone`` false: it was bad before, too, and good again in between;
    ``found`` is then a turn across which it went bad, not the only one.
    """

    session_id: str
    head: str
    canary: str | None
    probe: str | None
    threshold: float
    loss_initial: float | None
    rise_head: float | None
    monotone: bool
    found: BrokenTurn | None
    message: str
    steps: list[BisectStep]


class MeterChunk(Record):
    """A chunk of a message. ``adapted``: its loss before it was learned, ``frozen``: that of the model without any fast
    weight on the same tokens, both in bits per byte; ``adapted_so_far``, ``frozen_so_far``: over all until here."""

    turn: int
    commit: str
    chunk: int
    preview: str
    tokens: int
    bytes: int
    adapted: float | None
    frozen: float | None
    adapted_so_far: float | None
    frozen_so_far: float | None
    decision: Decision
    reasons: list[str]


class MeterTurn(Record):
    """A turn's sums. ``state_bytes``: of the snapshot after it (None: a revert replayed it, and stored the last)."""

    turn: int
    commit: str
    summary: str
    bytes: int
    adapted: float | None
    frozen: float | None
    refused: int
    state_bytes: int | None


class Meter(Record):
    """What learning gained on the messages that the session's head has seen: bits per byte beside the frozen model's.

    ``gain``: frozen minus adapted. ``ppm``: of PPMd on the same messages, a compressor that begins with nothing.
    ``fast_bytes``: of the fast weights and their rule as they are held, whatever is
    read; ``state_bytes``: of the head's snapshot, which holds what is not 0.
    """

    session_id: str
    head: str
    model: str
    memory: str | None
    bytes: int
    adapted: float | None
    frozen: float | None
    gain: float | None
    ppm: float | None
    committed: int
    refused: int
    state_bytes: int
    fast_bytes: int
    turns: list[MeterTurn]
    chunks: list[MeterChunk]


class RecallPoint(Record):
    """The answer under the state after a turn (0: the initial state). ``bytes_read``: of messages and replies so far;
    ``stated``: how often until then; ``distance``: bytes since the last time (None: not yet)."""

    turn: int
    commit: str
    bytes_read: int
    stated: int
    distance: int | None
    bits_per_letter: float | None
    bits_per_token: float | None


class Recall(Record):
    """Bits per letter (character) of ``answer`` after ``probe`` under each state of the session, oldest first, beside
    the ``frozen`` model's; ``uniform``: of the 26 letters alike. ``searched``: what counts as stating it in a message:
    probe and answer together, if any message holds that, else the answer alone."""

    session_id: str
    head: str
    probe: str
    answer: str
    letters: int
    tokens: int
    searched: str
    frozen_bits_per_letter: float | None
    frozen_bits_per_token: float | None
    uniform: float
    points: list[RecallPoint]
