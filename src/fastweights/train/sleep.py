"""Sleep's training: rows of traces and core text, and steps on slow weights that a guard commits or rolls back.

Legend: N rows, T positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastweights.errors import FastweightsError
from fastweights.guard.event import Event
from fastweights.guard.guard import Guard
from fastweights.guard.state import Session
from fastweights.models.slow_weights import Lesson, ManySteps, steps_chunk

GUARD_EVERY = 10
"""Steps that are one proposal."""
ROWS = 12
"""Rows of a step."""
SEQ_LEN, SHORTEST = 128, 8
"""Tokens of a sequence, and the fewest that there may be; what a trace lacks is padding."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one session said: its tokens (the first follows ``first``), and what its fast weights say of them.

    ``taught_TV``: log-probabilities (fp16) of each token's place, and ``known_T`` of the token itself where they know
    it better than the base (elsewhere -inf); None where nothing is distilled. ``asked_T``: True at the tokens of
    prompts (the others are replies).
    """

    session_id: str
    first: int
    ids_T: Tensor
    asked_T: Tensor
    taught_TV: Tensor | None = None
    known_T: Tensor | None = None

    @property
    def tokens_T(self) -> Tensor:
        return torch.cat([torch.tensor([self.first]), self.ids_T[:-1]])


def length_of_rows(asked: int | None, traces: Sequence[Trace], core_T: np.ndarray, longest: int | None = None) -> int:
    """Tokens of a sequence: ``asked``, or (None) :data:`SEQ_LEN`, less where the traces or the core text hold less, or
    where the model may read ``longest`` on end.

    FastweightsError where there are too few tokens for one sequence and the token after it.
    """
    held, core = sum(len(trace.ids_T) for trace in traces), len(core_T)
    if asked is not None and held <= asked:
        raise FastweightsError(
            f"seq_len {asked}: the sessions hold {held} tokens, too few for one sequence of {asked} and the token "
            "after it; leave --seq-len out, give a smaller one, or talk more"
        )
    fits = min(longest or SEQ_LEN, SEQ_LEN, max(held - 1, SHORTEST), core - 1) if asked is None else asked
    if core <= max(fits, 2 * SHORTEST):
        smaller = "give a smaller --seq-len, or" if asked is not None and asked > SHORTEST else "give"
        raise FastweightsError(
            f"seq_len {fits}: the core text has {core} tokens to train on, too few for one sequence; "
            f"{smaller} more text with --core-path"
        )
    return fits


class Lessons:
    """An endless supply of lessons: of ``ROWS`` rows a share is core text, the others are windows of traces."""

    def __init__(
        self, traces: Sequence[Trace], core_T: np.ndarray, *, seq_len: int, core_ratio: float, seed: int
    ) -> None:
        self.traces, self.core_T, self.seq_len = traces, core_T, seq_len
        self.n_core = min(max(round(ROWS * core_ratio), 1), ROWS - 1)
        self.rng = np.random.default_rng(seed)
        self.windows = [(i, at) for i, trace in enumerate(traces) for at in _windows(len(trace.ids_T), seq_len)]
        self._order: list[int] = []

    def next(self) -> Lesson:
        """The next one; every window of a trace comes once before any comes again, each time cut a little elsewhere."""
        picked = [self.windows[self._turn()] for _ in range(ROWS - self.n_core)]
        parts = [_trace_row(self.traces[i], self._shifted(i, at), self.seq_len) for i, at in picked]
        core = [self._core_row() for _ in range(self.n_core)]
        taught = [part.taught_TV for part in parts if part.taught_TV is not None]
        known = [part.known_T for part in parts if part.known_T is not None]
        return Lesson(
            torch.stack([row.tokens_T for row in (*parts, *core)]),
            torch.stack([row.targets_T for row in (*parts, *core)]),
            torch.stack([row.mask_T for row in (*parts, *core)]),
            torch.stack(taught) if taught else None,
            torch.stack(known) if known else None,
        )

    def _turn(self) -> int:
        if not self._order:
            self._order = self.rng.permutation(len(self.windows)).tolist()
        return self._order.pop()

    def _shifted(self, trace: int, at: int) -> int:
        last = max(0, len(self.traces[trace].ids_T) - self.seq_len)
        return min(last, max(0, at + int(self.rng.integers(-self.seq_len // 2, self.seq_len // 2 + 1))))

    def _core_row(self) -> _Row:
        at = int(self.rng.integers(len(self.core_T) - self.seq_len))
        ids_S = torch.from_numpy(self.core_T[at : at + self.seq_len + 1].astype(np.int64))
        return _Row(ids_S[:-1], ids_S[1:], torch.ones(self.seq_len, dtype=torch.bool))


class _Row(NamedTuple):
    tokens_T: Tensor
    targets_T: Tensor
    mask_T: Tensor
    taught_TV: Tensor | None = None
    known_T: Tensor | None = None


def _windows(size: int, seq_len: int) -> range:
    return range(0, max(1, size - seq_len // 2), seq_len)


def _trace_row(trace: Trace, at: int, seq_len: int) -> _Row:
    """``seq_len`` positions from ``at`` on; behind the trace's end there is padding."""
    take = slice(at, at + seq_len)
    ids_T = trace.ids_T[take]
    pad = seq_len - len(ids_T)
    tokens_T, targets_T = (torch.nn.functional.pad(x, (0, pad)) for x in (trace.tokens_T[take], ids_T))
    taught_TV, known_T = trace.taught_TV, trace.known_T
    if taught_TV is not None:
        taught_TV = torch.nn.functional.pad(taught_TV[take].float(), (0, 0, 0, pad))
    if known_T is not None:
        known_T = torch.nn.functional.pad(known_T[take], (0, pad), value=-math.inf)
    return _Row(tokens_T, targets_T, torch.arange(seq_len) < len(ids_T), taught_TV, known_T)


@dataclass
class Slept:
    """Where training ended: the session value whose fast weights are the slow ones, steps made, the guard's events."""

    session: Session
    steps: int = 0
    events: list[tuple[int, Event]] = field(default_factory=list)


def train(
    learner_at: Callable[[float], ManySteps],
    guard: Guard,
    lessons: Lessons,
    steps: int,
    *,
    until: Callable[[], bool] = lambda: False,
    on_write: Callable[[int, Event], None] = lambda step, event: None,
) -> Slept:
    """``steps`` steps, every :data:`GUARD_EVERY` of them one transaction; ``until`` ends it early, between two.

    ``learner_at``: the learner when a share of the steps is done (its rate may fall).
    """
    learner = learner_at(0.0)
    slept = Slept(guard.begin(learner, learner.init()))
    for size in _sizes(steps):
        if until():
            break
        learner = learner_at(slept.steps / steps)
        outcome = guard.step(learner, slept.session, steps_chunk([lessons.next() for _ in range(size)]))
        slept.session, slept.steps = outcome.session, slept.steps + size
        slept.events.append((slept.steps, outcome.event))
        on_write(slept.steps, outcome.event)
    return slept


def _sizes(steps: int) -> Iterator[int]:
    for at in range(0, steps, GUARD_EVERY):
        yield min(GUARD_EVERY, steps - at)
