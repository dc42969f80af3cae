"""What the input gate enforces: limits by chunk length, torch-free, part of a policy file.

What is normal for a statistic depends on how much text it was measured on, and for the token statistics on the
tokenizer. So each limit is a small table over sizes, interpolated over the logarithm of the size. Below the smallest
measured size a limit widens with one over the square root of the size; above the largest it stays.
"""

import functools
import math
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.guard.mode import Mode


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LimitPoint(_Config):
    """At ``size`` (tokens, words, characters or bytes: the statistic's own unit): the limit, and what is typical."""

    size: int = Field(ge=1)
    limit: float = Field(allow_inf_nan=False)
    typical: float = Field(allow_inf_nan=False)


class LimitTable(_Config):
    """Limits of one statistic over sizes. ``side``: "low" refuses values below the limit, "high" those above."""

    side: Literal["low", "high"]
    points: tuple[LimitPoint, ...] = Field(min_length=1)
    least_size: int = Field(default=1, ge=1, description="smaller sizes are not judged")

    @model_validator(mode="after")
    def _ascending(self) -> "LimitTable":
        sizes = [point.size for point in self.points]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"points have sizes {sizes}: list each size once, smallest first")
        return self

    def limit(self, size: int) -> float | None:
        """The limit at ``size``; None where a text is too small to judge."""
        if size < self.least_size:
            return None
        first, last = self.points[0], self.points[-1]
        if size <= first.size:
            widen = math.sqrt(first.size / size)
            return first.typical + (first.limit - first.typical) * widen
        if size >= last.size:
            return last.limit
        for below, above in zip(self.points, self.points[1:], strict=False):
            if size <= above.size:
                share = math.log(size / below.size) / math.log(above.size / below.size)
                return below.limit + share * (above.limit - below.limit)
        return last.limit

    def typical(self, size: int) -> float:
        """What is typical at ``size``, interpolated as the limit is; beyond the measured sizes that of the nearest."""
        first, last = self.points[0], self.points[-1]
        for below, above in zip(self.points, self.points[1:], strict=False):
            if below.size <= size <= above.size:
                share = math.log(size / below.size) / math.log(above.size / below.size)
                return below.typical + share * (above.typical - below.typical)
        return first.typical if size < first.size else last.typical

    def refuses(self, value: float, size: int) -> bool:
        """Whether ``value`` is beyond the limit. NaN is never refused here (the finite check refuses it)."""
        limit = self.limit(size)
        if limit is None:
            return False
        return value < limit if self.side == "low" else value > limit


def flat(side: Literal["low", "high"], limit: float, *, least_size: int = 1) -> LimitTable:
    """One limit for every size."""
    return LimitTable(side=side, least_size=least_size, points=(LimitPoint(size=1, limit=limit, typical=limit),))


class RulePolicy(_Config):
    """One statistic's rule. ``table`` None: not judged (nothing was calibrated)."""

    mode: Mode = "enforce"
    table: LimitTable | None = None


class BlobPolicy(_Config):
    mode: Mode = "enforce"
    encoded: LimitTable | None = None
    minified: LimitTable | None = None


class RepetitionPolicy(_Config):
    mode: Mode = "enforce"
    cycle: LimitTable | None = None
    compression: LimitTable | None = None
    vocabulary: LimitTable | None = None


class OverridePolicy(_Config):
    mode: Mode = "enforce"


class OodPolicy(_Config):
    """Out of distribution and a heavy write: refused only if loss and gradient norm are both above their limits."""

    mode: Mode = "enforce"
    loss: LimitTable | None = None
    grad_norm: LimitTable | None = None


class GatePolicy(_Config):
    """All input rules of a text, and the out-of-distribution rule of a proposal."""

    entropy: RulePolicy = RulePolicy()
    diversity: RulePolicy = RulePolicy()
    repetition: RepetitionPolicy = RepetitionPolicy()
    blob: BlobPolicy = BlobPolicy()
    override: OverridePolicy = OverridePolicy()
    ood: OodPolicy = OodPolicy()


def complete_gate(gate: GatePolicy | None, *, words: bool) -> GatePolicy:
    """The gate with the shipped limits for word-like tokens (the toy's words, BPE) or bytes wherever it has none."""
    shipped = default_gate("word" if words else "byte")
    if gate is None:
        return shipped
    rules = {}
    for name in GatePolicy.model_fields:
        own, default = getattr(gate, name), getattr(shipped, name)
        limits = {k: getattr(default, k) for k, v in own if isinstance(getattr(default, k), LimitTable) and v is None}
        rules[name] = own.model_copy(update=limits)
    return GatePolicy(**rules)


@functools.cache
def default_gate(tokens: Literal["word", "byte"]) -> GatePolicy:
    """The shipped limits of the text rules, for word-like tokens (also BPE) or for bytes; no out-of-distribution rule.

    Derived from benign texts by ``scripts/calibrate_gate.py``.
    """
    return GatePolicy.model_validate_json(files("fastweights.presets").joinpath(f"gate/{tokens}.json").read_bytes())
