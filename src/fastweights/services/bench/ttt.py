"""``bench ttt``: TTT-Linear's inner loop in several ways in one run, from q, k, v and rates to outputs and gradients.

``primal`` is the twin that the tests compare with: a token at a time, batched over sequences and heads, every operation
spelled out. ``primal_fused`` has what else a loop over tokens can have: torch's fused LayerNorm, and steps in place
where no gradient is asked for. ``official`` is the official variant's dual form, plainly. ``dual`` takes a chunk at a
time with autograd's backward, ``handwritten`` has its own, ``compiled`` is ``dual`` through torch.compile. Parity with
the primal comes first; where it fails there is no speed to report. Torch loads when the bench runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    import torch

    Output = tuple[torch.Tensor, ...]

PARITY = {"fp32": 1e-4, "bf16": 1e-4}  # of the largest value; bf16 rounds the inputs, the loop computes in fp32
_SAMPLE = 0.03  # seconds, as long as the slowest way takes at the default size
_PRIMAL_BYTES = 256 << 20  # its backward keeps a W for every token: more tokens than fit are not taken


def bench_ttt(
    *,
    device: str = "cpu",
    dtype: str = "fp32",
    batch: int = 1,
    heads: int = 4,
    head_dim: int = 64,
    chunk: int = 16,
    seq: int = 512,
    repeats: int = 7,
    compiled: bool = True,
) -> dict[str, Any]:
    """Tokens per second (one thread and CPU time on a CPU) of each way, forward and forward + backward.

    The primals' figures may come from a shorter text (``primal_seq``); they do not depend on its length. Raises
    :class:`FastweightsError` if outputs, last weights or gradients differ by more than 1e-4 of the largest.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.layers.ttt_ways import WAYS
    from fastweights.models.device import pick_device, set_threads

    if seq % chunk or seq < chunk or min(batch, heads, chunk) < 1:
        raise FastweightsError(f"seq={seq} must be a multiple of chunk={chunk}: all ways then do the same work")
    if dtype not in PARITY:
        raise FastweightsError(f"dtype {dtype!r} is not known: fp32 or bf16")
    target = pick_device(device)
    set_threads()
    keep_freed_memory()
    short = max(chunk, min(seq, _PRIMAL_BYTES // (8 * batch * heads * head_dim**2) // chunk * chunk))
    ways: dict[str, Callable[..., Output]] = {name: way for name, way in WAYS.items() if name != "compiled"}
    result: dict[str, Any] = {
        "device": str(target),
        "dtype": dtype,
        "shape": {"batch": batch, "heads": heads, "head_dim": head_dim, "chunk": chunk, "seq": seq},
        "primal_seq": short,
        "threads": torch.get_num_threads(),
        "compiled_why_not": None if compiled else "not asked for",
    }
    texts = {t: _inputs(t, batch * heads, head_dim, dtype, target) for t in {seq, short}}
    if compiled:
        try:
            _both(WAYS["compiled"], texts[short], chunk)
            ways["compiled"] = WAYS["compiled"]
        except Exception as error:  # whatever a missing or broken compiler raises; the option is never required
            result["compiled_why_not"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    result["worst_difference"] = _parity(ways, texts[short], chunk, dtype)
    length = {name: short if name.startswith("primal") else seq for name in ways}
    peak = _gemm_peak(target)
    result["gemm_gflops"] = peak
    forward = measured_seconds(
        {n: (lambda n=n: _forward(ways[n], texts[length[n]], chunk)) for n in ways}, target, repeats
    )
    both = measured_seconds({n: (lambda n=n: _both(ways[n], texts[length[n]], chunk)) for n in ways}, target, repeats)
    flops = heads * (6 * head_dim**2 + 4 * chunk * head_dim)
    for name in WAYS:
        result[name] = None
        if name in ways:
            tokens = batch * length[name]
            rates = {"forward": tokens / forward[name], "forward_backward": tokens / both[name]}
            work = {"forward": flops, "forward_backward": 3 * flops}
            shares = {kind: work[kind] * rates[kind] / peak / 1e9 for kind in rates}
            memory = peak_bytes(lambda n=name: _both(ways[n], texts[length[n]], chunk), target)
            result[name] = {**rates, "gemm_share": shares, "peak_bytes": memory}
    for base in ("primal", "primal_fused", "official"):
        result["ratio" if base == "primal" else f"ratio_to_{base}"] = {
            name: {kind: result[name][kind] / result[base][kind] for kind in ("forward", "forward_backward")}
            for name in ways
            if name != base
        }
    return result


# ---------------------------------------------------------------- measuring


def _inputs(seq: int, rows: int, width: int, dtype: str, device: torch.device) -> list[torch.Tensor]:
    """``W, q, k, v, c`` at the size that a layer of this width gives them, and a weight for the gradient."""
    import torch

    gen = torch.Generator().manual_seed(0)
    w = torch.randn(rows, width, width, generator=gen) * 0.02
    tokens = [torch.randn(rows, seq, width, generator=gen) for _ in range(4)]
    c = torch.rand(rows, seq, 1, generator=gen) * (0.5 / width)
    if dtype == "bf16":
        tokens = [x.bfloat16().float() for x in tokens]
    q, k, v, weight = tokens
    return [*(x.to(device).requires_grad_() for x in (w, q, k, v, c)), weight.to(device)]


def _forward(way: Callable[..., Output], inputs: list[torch.Tensor], chunk: int) -> Output:
    import torch

    with torch.no_grad():
        return way(*inputs[:-1], chunk)


def _both(way: Callable[..., Output], inputs: list[torch.Tensor], chunk: int) -> Output:
    import torch

    y, after = way(*inputs[:-1], chunk)
    return y.detach(), after.detach(), *torch.autograd.grad(y, inputs[:-1], inputs[-1])


def _parity(
    ways: dict[str, Callable[..., Output]], inputs: list[torch.Tensor], chunk: int, dtype: str
) -> dict[str, float]:
    """Of every way that computes what the primal does: the worst difference, relative to the largest value."""
    right, found = _both(ways["primal"], inputs, chunk), {}
    for name in [name for name in ways if name not in ("primal", "official")]:
        pairs = zip(_both(ways[name], inputs, chunk), right, strict=True)
        found[name] = max(float((x - y).abs().max() / y.abs().max()) for x, y in pairs)
        if not found[name] <= PARITY[dtype]:
            raise FastweightsError(
                f"bench ttt: {name} differs from the primal by {found[name]:.2e}; no speed to report"
            )
    return found


def measured_seconds(runs: dict[str, Callable[[], Any]], device: torch.device, repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turn so that a busy machine slows all alike; a sample lasts ``_SAMPLE``."""
    import torch

    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def sample(run: Callable[[], Any], count: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = clock()
        for _ in range(count):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (clock() - start) / count

    for run in runs.values():
        sample(run, 1)  # allocates, and on a GPU loads kernels
    counts = {name: max(1, round(_SAMPLE / max(sample(run, 1), 1e-6))) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(sample(run, counts[name]))
    return {name: statistics.median(values) for name, values in seconds.items()}


def _gemm_peak(device: torch.device) -> float:
    """GFLOP/s of fp32 ``1024³`` products here and now."""
    import torch

    n = 1024
    a = torch.randn(n, n, device=device)
    return 2 * n**3 / measured_seconds({"mm": lambda: a @ a}, device, 7)["mm"] / 1e9


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    """Bytes above the start at the highest point of a run."""
    import torch

    from fastweights.core.memory import peak, start_peak

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    start = start_peak()
    run()
    end = peak()
    return None if start is None or end is None else max(0, end - start)
