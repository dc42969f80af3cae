"""``bench monitor``: the monitor on the toy model with every check on, beside its naive twin, on one thread.

The twin takes gradients with autograd through the head, reads the canaries one by one and keeps none of their figures
from one measurement to the next. Both must report the same events first. Torch loads when the bench runs.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import MonitorParts, build_monitor
from fastweights.services.monitor_records import MonitorEvent, MonitorOptions
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.learner import FastModel, GradientLearner, InnerOutput
    from fastweights.core.state import Chunk, Weights
    from fastweights.guard.canaries import Canaries, Measured

_PARITY_CHUNKS, _NAIVE_CHUNKS = 6, 8
_COMPARED = ("loss", "grad_norm", "update_norm", "canary_loss_before", "canary_loss_after", "canary_grad_norm")


def bench_monitor(
    store: Store, *, backbone: str = "ssm", chunk_tokens: int = 128, tokens: int = 20_000, repeats: int = 5
) -> dict[str, Any]:
    """Tokens per CPU second over at least ``tokens`` of the shipped text, the median of ``repeats`` readings.

    From bytes to JSON events: tokenizing, gate, gradient, projection, canaries, commit. ``gemm_share``: the arithmetic
    of the head's matrix products over what the same thread does in products of that kind alone, in the same time.
    Raises :class:`FastweightsError` if any figure of the twin's events differs by more than 1e-4 of its size.
    """
    import torch

    from fastweights.models.device import set_threads

    set_threads()
    options = MonitorOptions(backbone=backbone, chunk_tokens=chunk_tokens)  # type: ignore[arg-type]
    pool = ModelPool(store)
    text = (resources.files("fastweights.data") / "assets" / "tiny.txt").read_bytes()
    text *= -(-tokens * 6 // len(text))
    head = text[: (max(_PARITY_CHUNKS, _NAIVE_CHUNKS) + 1) * chunk_tokens * 8]

    fast, slow = build_monitor(pool, options), _naive(build_monitor(pool, options))
    worst = _parity(*(_read(parts, options, head, _PARITY_CHUNKS)[0] for parts in (fast, slow)))
    if not worst <= 1e-4:
        raise FastweightsError(f"bench monitor: differs from its naive twin by {worst:.2e}; no speed to report")

    wanted = -(-tokens // chunk_tokens)
    rates: list[float] = []
    naive: list[float] = []
    peaks: list[float] = []
    chunk_ms: list[float] = []
    for _ in range(repeats):  # taken in turn, so that a busy machine slows all alike
        peaks.append(_gemm_flops(fast, chunk_tokens))
        events, seconds = _read(fast, options, text, wanted)
        rates.append(events[-1].token_end / seconds)
        chunk_ms.append(seconds / len(events) * 1e3)
        few, seconds = _read(slow, options, head, _NAIVE_CHUNKS)
        naive.append(few[-1].token_end / seconds)
    per_second = statistics.median(rates)
    canary_tokens = fast.guard.canaries.chunk.targets_BT.numel() if fast.guard.canaries else 0
    products = 4 * fast.model.lm.head.weight.numel() * (1 + canary_tokens / chunk_tokens)  # a token, forward and back
    peak = statistics.median(peaks)
    return {
        "model": "toy",
        "backbone": backbone,
        "chunk_tokens": chunk_tokens,
        "tokens": wanted * chunk_tokens,
        "tokens_per_cpu_second": per_second,
        "cpu_ms_per_chunk": statistics.median(chunk_ms),
        "naive_tokens_per_cpu_second": statistics.median(naive),
        "ratio": statistics.median(f / n for f, n in zip(rates, naive, strict=True)),
        "gemm_gflops_measured": peak / 1e9,
        "gemm_share": per_second * products / peak,
        "gemm_bound_tokens_per_cpu_second": peak / products,
        "canary_tokens": canary_tokens,
        "peak_rss_mb": _peak_mb(chunk_tokens),
        "worst_difference": worst,
        "threads": torch.get_num_threads(),
    }


def _read(parts: MonitorParts, options: MonitorOptions, text: bytes, chunks: int) -> tuple[list[MonitorEvent], float]:
    """The first ``chunks`` events and the CPU seconds that they took, their JSON included."""
    import gc

    gc.collect()
    events: list[MonitorEvent] = []
    start = time.process_time()
    for event in Monitor(parts, options).read([text]):
        event.__pydantic_serializer__.to_json(event)
        events.append(event)
        if len(events) == chunks:
            break
    return events, time.process_time() - start


def _parity(fast: list[MonitorEvent], slow: list[MonitorEvent]) -> float:
    """The largest difference of any compared figure, as a share of its size; infinite where a decision differs."""
    worst = 0.0
    for one, other in zip(fast, slow, strict=True):
        if one.decision != other.decision:
            return float("inf")
        for name in _COMPARED:
            a, b = getattr(one, name), getattr(other, name)
            worst = max(worst, abs(a - b) / max(abs(b), 1e-3))
    return worst


def _gemm_flops(parts: MonitorParts, rows: int) -> float:
    """Floating-point operations a CPU second in the head's two products alone, at a chunk's size."""
    import torch

    from fastweights.core.gemm import linear

    weight_VD = parts.model.lm.head.weight
    h_ND = torch.randn(rows, weight_VD.shape[1])
    best = float("inf")
    with torch.inference_mode():
        for _ in range(8):
            start = time.process_time()
            for _ in range(4):
                linear(linear(h_ND, weight_VD), weight_VD.T)
            best = min(best, time.process_time() - start)
    return 4 * 4 * rows * weight_VD.numel() / best


def _peak_mb(chunk_tokens: int) -> float | None:
    """Most memory (10^6 bytes) that ``fastweights monitor`` holds over the shipped text, as a process of its own."""
    if sys.platform == "win32":
        return None
    file = resources.files("fastweights.data") / "assets" / "tiny.txt"
    with tempfile.TemporaryDirectory() as root:
        line = ["monitor", f"--file={file}", f"--chunk-tokens={chunk_tokens}", "--json", f"--root={root}"]
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, *line],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if done.returncode != 0:
        raise FastweightsError(f"bench monitor: `fastweights monitor` failed: {done.stderr.strip()[-200:]}")
    return float(done.stdout.splitlines()[-1]) / 1e6


_PEAK = """
import resource, sys
from pathlib import Path
from fastweights.cli.main import run
code = run(sys.argv[1:])
status = Path("/proc/self/status")
if status.exists():  # of this process alone: a child's ru_maxrss begins at what its parent held
    lines = status.read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak)
sys.exit(code)
"""


# ---------------------------------------------------------------------- the naive twin


def _naive(parts: MonitorParts) -> MonitorParts:
    from fastweights.guard.guard import Guard

    class Forgetful(Guard):
        """Measures every time it is asked."""

        def _measure(self, learner: Any, weights: Weights) -> Measured | None:
            return None if self.canaries is None else self.canaries.measure(learner, weights)

        def _before(self, learner: Any, session: Any) -> Any:
            return self._losses(learner, session.fast.weights)

    learner: GradientLearner = parts.learner
    learner = replace(learner, model=_Autograd(learner.model))
    guard = Forgetful(parts.guard.policy, None, (), score_after=False)
    guard.checks = parts.guard.checks
    assert parts.guard.canaries is not None
    guard.canaries = _OneByOne(parts.guard.canaries)  # type: ignore[assignment]
    return replace(parts, learner=learner, guard=guard)


@dataclass(frozen=True, eq=False)
class _Autograd:
    """A model without its closed form."""

    model: FastModel

    def init_weights(self, batch: int) -> Weights:
        return self.model.init_weights(batch)

    def init_carry(self, batch: int) -> Any:
        return self.model.init_carry(batch)

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        return self.model.encode(chunk, carry)

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        return self.model.forward(weights, features, chunk, carry)


@dataclass(frozen=True, eq=False)
class _OneByOne:
    """The canaries, each read for itself, from its tokens on."""

    canaries: Canaries

    @property
    def names(self) -> tuple[str, ...]:
        return self.canaries.names

    def measure(self, learner: Any, weights: Weights) -> Measured:
        import torch

        from fastweights.guard.canaries import Measured

        losses: dict[str, float] = {}
        grads: list[Weights] = []
        for i, name in enumerate(self.names):
            whole = self.canaries.chunk
            row = whole._replace(
                tokens_BT=whole.tokens_BT[i : i + 1],
                targets_BT=whole.targets_BT[i : i + 1],
                mask_BT=whole.mask_BT[i : i + 1],
                inputs={},
            )
            loss_B, grad = learner.score_and_grad(replace(learner.init(1), weights=weights), row)
            losses[name] = float(loss_B)
            grads.append(grad)
        return Measured(losses, {key: torch.cat([g[key] for g in grads]) for key in grads[0]})
