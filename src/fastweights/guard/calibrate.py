"""From statistics of benign chunks to the limits of a :class:`~fastweights.guard.gate_policy.GatePolicy`. Torch-free.

The false-alarm rate is declared for all rules together; it is split evenly over the rules that were measured. A limit
is a conservative quantile: the order statistic whose true exceedance is at most its share with 90 % confidence; where
the sample is too small for that, it lies beyond the largest value seen by a margin that grows as the sample shrinks.
"""

import codecs
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from fastweights.guard.gate_policy import (
    BlobPolicy,
    GatePolicy,
    LimitPoint,
    LimitTable,
    OodPolicy,
    OverridePolicy,
    RepetitionPolicy,
    RulePolicy,
)
from fastweights.guard.signals import LOOK_BACK, Signals, Statistic, measure

Side = Literal["low", "high"]

SIDES: dict[str, Side] = {
    "entropy": "low",
    "diversity": "low",
    "compression": "low",
    "cycle": "high",
    "encoded": "high",
    "minified": "high",
    "loss": "high",
    "grad_norm": "high",
}
_BOUNDS: dict[str, tuple[float, float]] = {  # a limit never goes where only an attack or nothing at all could be
    "entropy": (0.0, 64.0),
    "diversity": (0.0, 1.0),
    "compression": (0.0, 1.0),
    "cycle": (0.975, 0.98),
    "encoded": (0.15, 0.28),
    "minified": (0.6, 0.85),
}
_LEAST_SIZE = {"entropy": 16, "diversity": 16, "compression": 192, "cycle": 24, "encoded": 1, "minified": 1}
_CONFIDENCE = 0.9
_SHARED = ("loss", "grad_norm")  # these two refuse only together: one share of the budget

Samples = Mapping[str, Iterable[tuple[int, float]]]
"""Per statistic: (chunk size in its own unit, value) of each benign chunk. Non-finite values are left out."""


def calibrate(samples: Samples, fpr: float) -> GatePolicy:
    """Limits such that all rules together refuse at most ``fpr`` of benign chunks. Rules without samples stay unset.

    Raises ValueError for an unknown statistic or a rate outside (0, 0.5).
    """
    if not 0 < fpr < 0.5:
        raise ValueError(f"fpr is {fpr}; give a rate between 0 and 0.5")
    if unknown := sorted(set(samples) - set(SIDES)):
        raise ValueError(f"statistic {unknown[0]!r} is unknown; use {', '.join(SIDES)}")
    rules = len([name for name in samples if name not in _SHARED]) + any(name in samples for name in _SHARED)
    share = fpr / max(1, rules + 1)  # one part for the override grammar, which has no limit
    tables = {name: table(values, share, name) for name, values in samples.items()}
    return GatePolicy(
        entropy=RulePolicy(table=tables.get("entropy")),
        diversity=RulePolicy(table=tables.get("diversity")),
        repetition=RepetitionPolicy(cycle=tables.get("cycle"), compression=tables.get("compression")),
        blob=BlobPolicy(encoded=tables.get("encoded"), minified=tables.get("minified")),
        override=OverridePolicy(),
        ood=OodPolicy(loss=tables.get("loss"), grad_norm=tables.get("grad_norm")),
    )


def table(values: Iterable[tuple[int, float]], rate: float, name: str) -> LimitTable | None:
    """The limits of one statistic over the sizes that occur; None without a finite value.

    Sizes are pooled by powers of two, each pool's limit standing at its median size.
    """
    pools: dict[int, list[tuple[int, float]]] = {}
    for size, value in values:
        if size >= 1 and math.isfinite(value):
            pools.setdefault(round(2 * math.log2(size)), []).append((size, value))
    merged = list(dict(sorted(pools.items())).values())
    enough = max(64.0, _needed(rate) / 8)  # a smaller pool says little about so rare an event; its neighbours do
    merged = [pool for pool in merged if len(pool) >= enough] or _merge_small(merged)
    if not merged:
        return None
    side = SIDES[name]
    points = []
    for pool in merged:
        numbers = [value for _, value in pool]
        size = sorted(size for size, _ in pool)[len(pool) // 2]
        limit = conservative_quantile(numbers, rate, side)
        if name in _BOUNDS:
            low, high = _BOUNDS[name]
            limit = min(max(limit, low), high)
        points.append(LimitPoint(size=size, limit=round(limit, 6), typical=round(_median(numbers), 6)))
    unique = {point.size: point for point in points}
    return LimitTable(
        side=side, points=tuple(unique[size] for size in sorted(unique)), least_size=_LEAST_SIZE.get(name, 1)
    )


def _merge_small(pools: Sequence[list[tuple[int, float]]], least: int = 64) -> list[list[tuple[int, float]]]:
    """Neighbouring pools put together until each has ``least`` values (the odd tails of texts are rare sizes)."""
    merged: list[list[tuple[int, float]]] = []
    for pool in pools:
        if merged and (len(merged[-1]) < least or len(pool) < least):
            merged[-1] = merged[-1] + pool
        else:
            merged.append(pool)
    return merged


def conservative_quantile(values: Sequence[float], rate: float, side: Side) -> float:
    """A limit that at most ``rate`` of such values pass, with 90 % confidence.

    Wilks: the k-th most extreme of n values leaves out at most ``rate`` with the confidence of a binomial tail. Where
    even k = 1 gives too little, the largest is moved out by a part of its distance from the median.
    """
    sign = 1.0 if side == "high" else -1.0
    ordered = sorted((sign * value for value in values), reverse=True)
    n = len(ordered)
    k, tail = 0, (1.0 - rate) ** n  # P(fewer than k + 1 exceedances would be seen at the true rate)
    while k < n and 1.0 - tail >= _CONFIDENCE:
        k += 1
        tail += _binomial(n, k, rate)
    if k >= 1:
        return sign * ordered[k - 1]
    typical = _median(ordered)
    margin = 0.15 * math.log(max(1.0, _needed(rate) / n)) + 0.05
    reach = max(ordered[0] - typical, 0.02 * abs(typical))
    return sign * (ordered[0] + margin * reach)


def _needed(rate: float) -> float:
    """The sample size from which the largest value alone is a quantile that can be trusted."""
    return math.log(1.0 - _CONFIDENCE) / math.log(1.0 - rate)


def _binomial(n: int, k: int, rate: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(rate) + (n - k) * math.log1p(-rate))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def text_samples(
    chunks: Iterable[tuple[str, str, Sequence[int]]],
) -> dict[str, list[tuple[int, float]]]:
    """The input statistics of benign chunks, given as (text, look-back, token ids), as :func:`calibrate` takes them.

    Add ``"loss"`` and ``"grad_norm"`` lists of (tokens, value), from a model's own events, for its
    out-of-distribution rule.
    """
    samples: dict[str, list[tuple[int, float]]] = {name: [] for name in SIDES if name not in _SHARED}
    for text, tail, ids in chunks:
        found = measure(text, tail, ids)
        for name, statistic in zip(samples, _ordered(found), strict=True):
            if statistic is not None:
                samples[name].append((statistic.size, statistic.value))
    return samples


def _ordered(found: Signals) -> tuple[Statistic | None, ...]:
    return found.entropy, found.diversity, found.compression, found.cycle, found.blob, found.minified


_WORD = re.compile(r"\w+|[^\w\s]")

Chunk = tuple[str, str, list[int]]


def word_chunks(text: str, size: int) -> Iterator[Chunk]:
    """Chunks of ``size`` words and signs, hashed: (text, look-back, ids)."""
    found = list(_WORD.finditer(text))
    start = 0
    for first in range(0, len(found), size):
        group = found[first : first + size]
        end = group[-1].end() if first + size < len(found) else len(text)
        ids = [zlib.crc32(match.group().encode("utf-8", "replace")) for match in group]
        yield text[start:end], text[max(0, start - LOOK_BACK) : start], ids
        start = end


def byte_chunks(text: str, size: int) -> Iterator[Chunk]:
    """Chunks of ``size`` bytes: (text, look-back, ids)."""
    data, tail = text.encode("utf-8", "replace"), ""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character belongs to the chunk that completes it
    for first in range(0, len(data), size):
        piece = decoder.decode(data[first : first + size], final=first + size >= len(data))
        yield piece, tail, list(data[first : first + size])
        tail = (tail + piece)[-LOOK_BACK:]
