"""Comparisons at equal training CPU time: several runs by turns in one process, and means over seeds. Torch-free."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    from fastweights.train.trainer import Trainer

_TURN = 1.0  # CPU seconds
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The 97.5 % points of Student's distribution, by the number of values."""


def train_by_turns(
    runs: Mapping[str, Trainer], budget: float, *, used: Mapping[str, float] | None = None, until: float | None = None
) -> dict[str, float]:
    """CPU seconds that each run has used: ``until`` (default: ``budget``), and at most one step more.

    They train by turns of a second, and the schedule of each follows its seconds: it is over when the budget is used.
    ``used``: what each has used before.
    """
    used, until = dict(used or dict.fromkeys(runs, 0.0)), budget if until is None else until
    while min(used.values()) < until:
        for name, run in runs.items():
            end = min(used[name] + _TURN, until)
            while used[name] < end:
                start = time.process_time()
                run.advance()
                used[name] += time.process_time() - start
                steps = max(run.step + 1, math.ceil(run.step * budget / used[name]))
                run.config = run.config.model_copy(update={"steps": steps})  # as many as the budget will hold
    return used


def check_seeds(seeds: int) -> None:
    """Raises FastweightsError where :func:`mean_of` has no interval for so many."""
    if not 1 <= seeds <= max(_STUDENT):
        raise FastweightsError(f"seeds={seeds}: give 1 to {max(_STUDENT)}")


def mean_of(values: list[float]) -> dict[str, Any]:
    """``values`` (one a seed), their ``mean``, ``half_width`` of its 95 % interval (Student's; None for one value)."""
    n = len(values)
    half = _STUDENT[n] * statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return {"values": values, "mean": statistics.fmean(values), "half_width": half}
