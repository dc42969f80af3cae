"""``bench ttt --memory``: how much a training pass holds, by length, with checkpoints through time and without.

Counted are the bytes that torch's allocator has given out and not got back, not what the process keeps of them: the
heap's holes depend on what ran before. The model is that of ``bench ttt --model``. Torch loads when the bench runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def bench_ttt_memory(
    *, device: str = "cpu", batch: int = 1, chunk: int = 16, seqs: tuple[int, ...] = (512, 2048, 8192)
) -> dict[str, Any]:
    """``rows`` of ``seq``, ``segment_chunks`` and MB (1e6 bytes) above the start at the highest point of forward and
    backward: ``live_mb`` with checkpoints, ``live_mb_off`` without; ``exponent`` and ``exponent_off``: p of MB ~ T^p,
    fitted to all rows. A figure that this build of torch does not give is None.

    Raises :class:`FastweightsError` if there are fewer than two lengths, or one is no multiple of ``chunk``.
    """
    import torch

    from fastweights.models.device import pick_device, set_threads
    from fastweights.services.bench.ttt_model import VOCAB, need_lengths, new_model, segment, train_pass

    need_lengths(seqs, chunk)
    target = pick_device(device)
    set_threads()
    torch.manual_seed(0)
    text_BT = torch.randint(VOCAB, (batch, seqs[-1] + 1), device=target)
    rows: list[dict[str, Any]] = []
    for seq in seqs:
        row: dict[str, Any] = {"seq": seq, "segment_chunks": segment(seq // chunk)}
        for name, chunks in (("live_mb", row["segment_chunks"]), ("live_mb_off", 0)):
            model = new_model(chunk, chunks).to(target)
            train_pass(model, text_BT[:, : chunk + 1])  # the gradients are there before
            held = live_bytes(lambda m=model, t=seq: train_pass(m, text_BT[:, : t + 1]), target)
            row[name] = None if held is None else held / 1e6
        rows.append(row)
    return {
        "device": str(target),
        "batch": batch,
        "chunk": chunk,
        "rows": rows,
        "exponent": _exponent(rows, "live_mb"),
        "exponent_off": _exponent(rows, "live_mb_off"),
    }


def live_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    """The most bytes given out at once during ``run``, above those before it; None where torch does not tell."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    results = getattr(found.profiler, "kineto_results", None)
    if results is None:
        return None
    events = sorted((e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]")
    now = most = 0
    for _, size in events:
        now += size
        most = max(most, now)
    return most if events else None


def _exponent(rows: list[dict[str, Any]], name: str) -> float | None:
    """Slope of the least squares line through the logarithms."""
    points = [(math.log(row["seq"]), math.log(row[name])) for row in rows if row[name]]
    if len(points) < len(rows):
        return None
    x0, y0 = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)
