"""Small numbers done carefully: robust z scores and floats that are fit for JSON."""

import math
from collections.abc import Sequence
from statistics import median

MAD_TO_SIGMA = 1.4826  # of a normal distribution


def robust_z(value: float, history: Sequence[float], *, spread_floor: float, min_history: int) -> float | None:
    """``(value - median) / max(1.4826 * MAD, spread_floor)``; None while the history is shorter than ``min_history``.

    The floor keeps a history without spread from turning noise into an alarm.
    """
    if len(history) < min_history:
        return None
    center = median(history)
    spread = MAD_TO_SIGMA * median(abs(x - center) for x in history)
    return (value - center) / max(spread, spread_floor)


def finite_or_none(value: float | None) -> float | None:
    """The value, or None where JSON could not hold it."""
    return value if value is not None and math.isfinite(value) else None
