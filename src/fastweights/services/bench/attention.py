"""``bench attention``: window attention four ways in one run, through forward, backward and double backward.

``explicit`` makes the whole matrix of scores and masks it, ``math`` is torch's ``scaled_dot_product_attention`` on its
MATH backend (its only one with a second derivative on a CPU), ``custom`` has our own backwards on one block of all
queries, ``banded`` has them on blocks that meet their window only. Parity with ``explicit`` comes first; where it fails
there is no speed to report. Torch loads when the bench runs.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    import torch

    Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

PARITY = 1e-4  # of the largest value
PHASES = ("forward", "backward", "double_backward")


def bench_attention(
    *, seq: int = 2048, heads: int = 4, dim: int = 64, batch: int = 1, window: int = 128, repeats: int = 3
) -> dict[str, Any]:
    """CPU milliseconds (one thread, medians) of each way and phase, and bytes at the highest point of all three phases.

    ``dim``: width of a head. fp32. The second derivative is that of the sum of squares of the first's gradients.
    ``ratio``: how many times the milliseconds and the bytes of ``explicit`` are those of a way. Raises
    :class:`FastweightsError` if outputs or gradients of either order differ by more than 1e-4 of the largest.
    """
    import torch

    from fastweights.models.device import set_threads

    if min(seq, heads, dim, batch, window, repeats) < 1:
        raise FastweightsError(
            f"seq={seq}, heads={heads}, dim={dim}, batch={batch}, window={window}, repeats={repeats}: all from 1 up"
        )
    set_threads()
    gen = torch.Generator().manual_seed(0)
    *inputs, weight = (torch.randn(batch, heads, seq, dim, generator=gen) for _ in range(4))
    inputs = [x.requires_grad_() for x in inputs]
    ways = _ways(seq, window)
    want, worst = _run(ways["explicit"], inputs, weight)[1], {}
    for name, way in ways.items():
        got = _run(way, inputs, weight)[1]
        worst[name] = max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(got, want, strict=True))
        if not worst[name] <= PARITY:
            raise FastweightsError(f"bench attention: {name} differs from explicit by {worst[name]:.2e}; no speed")
        del got
    del want
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():  # in turn, so that a busy machine slows all alike
            times[name].append(_run(way, inputs, weight)[0])
    result: dict[str, Any] = {
        "shape": {"batch": batch, "heads": heads, "dim": dim, "seq": seq, "window": window},
        "threads": torch.get_num_threads(),
        "worst_difference": worst,
    }
    for name, way in ways.items():
        ms = [statistics.median(run[i] for run in times[name]) * 1e3 for i in range(len(PHASES))]
        figures = {f"{phase}_ms": value for phase, value in zip(PHASES, ms, strict=True)}
        result[name] = {**figures, "peak_bytes": _peak_bytes(lambda way=way: _run(way, inputs, weight))}
    result["ratio"] = {name: _ratio(result["explicit"], result[name]) for name in ways if name != "explicit"}
    return result


def _ratio(slow: dict[str, Any], fast: dict[str, Any]) -> dict[str, float | None]:
    keys = {phase: f"{phase}_ms" for phase in PHASES} | {"peak": "peak_bytes"}
    return {name: slow[key] / fast[key] if slow[key] and fast[key] else None for name, key in keys.items()}


def _ways(seq: int, window: int) -> dict[str, Way]:
    import torch
    from torch.nn import functional as F

    from fastweights.layers import naive_attention
    from fastweights.layers.attention import attention

    def math(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=naive_attention.mask(seq, seq, window))

    return {
        "explicit": lambda q, k, v: naive_attention.attention(q, k, v, window),
        "math": math,
        "custom": lambda q, k, v: attention(q, k, v, window, block=seq),
        "banded": lambda q, k, v: attention(q, k, v, window),
    }


def _run(way: Way, inputs: list[torch.Tensor], weight: torch.Tensor) -> tuple[list[float], list[torch.Tensor]]:
    """``(seconds of each phase, output and gradients of both orders)``."""
    import torch

    q, k, v = inputs
    marks = [time.process_time()]
    y = way(q, k, v)
    marks.append(time.process_time())
    first = torch.autograd.grad(y, inputs, weight, create_graph=True)
    marks.append(time.process_time())
    second = torch.autograd.grad(first, inputs, [2 * g.detach() for g in first])
    marks.append(time.process_time())
    seconds = [after - before for before, after in itertools.pairwise(marks)]
    return seconds, [y.detach(), *(g.detach() for g in first), *second]


def _peak_bytes(run: Callable[[], Any]) -> int | None:
    from fastweights.core.memory import peak, start_peak

    start = start_peak()
    run()
    end = peak()
    return None if start is None or end is None else max(0, end - start)
