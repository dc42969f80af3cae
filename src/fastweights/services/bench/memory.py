"""``bench memory``: reading real text with the mix, against its plain definition. Torch loads when a bench runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.evals.adapt_reads import adapted, chunks_of, frozen, options_of
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.state import Chunk

_CHUNK, _TOLERANCE = 64, 0.01
_PARITY_BITS = 24  # of a table in which hardly two contexts share an entry


def bench_memory(store: Store, model_id: str | None, *, size: int, repeats: int) -> dict[str, Any]:
    """CPU milliseconds a kB (medians, one thread) of the frozen pass, of reading and learning, and of the guard; and
    how many times as long plain Python takes for a quarter of the text, with the model's pass and beyond it.

    ``model_id`` None: the starter. Raises :class:`FastweightsError` if the losses differ by more than a hundredth.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory

    if not 256 <= size <= 1 << 18 or repeats < 1:
        raise FastweightsError(f"size {size}, repeats {repeats}: give 256 to 262144 bytes and at least one repeat")
    torch.set_num_threads(1)
    keep_freed_memory()
    pool = ModelPool(store)
    model = pool.open(pool.models.resolve(model_id) if model_id else "starter")
    data = (files("fastweights.data") / "assets" / "tiny.txt").read_bytes()[:size]
    chunks, few = (chunks_of(model, part, _CHUNK) for part in (data, data[: size // 4]))
    worst = _parity(model, few[:4])
    passes = [frozen(model, chunks).seconds for _ in range(repeats)]
    reads = [adapted(model, chunks, "mix", _CHUNK, guarded=False).seconds for _ in range(repeats)]
    guarded = [adapted(model, chunks, "mix", _CHUNK, guarded=True).guard_seconds for _ in range(repeats)]
    plain = _cpu_seconds(_naive_of(model, few))
    of_kb = 1024e3 / len(data)
    model_ms, read_ms = (statistics.median(seconds) * of_kb for seconds in (passes, reads))
    naive_ms = plain * 1024e3 / len(data[: size // 4])
    return {
        "model": model.loaded.model_id,
        "bytes": len(data),
        "model_ms_per_kb": model_ms,
        "read_ms_per_kb": read_ms,
        "beyond_model_ms_per_kb": read_ms - model_ms,
        "guard_ms_per_kb": statistics.median(guarded) * of_kb,
        "naive_read_ms_per_kb": naive_ms,
        "ratio": naive_ms / read_ms,
        "ratio_beyond_model": (naive_ms - model_ms) / (read_ms - model_ms),
        "worst_difference": worst,
        "threads": 1,
    }


def _parity(model: OpenModel, chunks: list[Chunk]) -> float:
    """The largest difference of a chunk's loss, as a share of it."""
    from fastweights.models.memory.naive import NaiveMix

    learner = _learner(model)
    learner = replace(learner, config=replace(learner.config, bits=_PARITY_BITS))
    naive, state, worst = NaiveMix(learner, _pieces(model)), learner.init(), 0.0
    for chunk in chunks:
        proposal, want = learner.propose(state, chunk), naive.read(chunk)
        state, worst = proposal.after, max(worst, abs(float(proposal.output.loss_B) - want) / want)
    if not worst <= _TOLERANCE:
        raise FastweightsError(f"memory: a loss is off by {worst:.2%} of the plain one: there is no speed to report")
    return worst


def _naive_of(model: OpenModel, chunks: list[Chunk]) -> Callable[[], None]:
    from fastweights.models.memory.naive import NaiveMix

    naive = NaiveMix(_learner(model), _pieces(model))

    def read() -> None:
        for chunk in chunks:
            naive.read(chunk)

    return read


def _learner(model: OpenModel) -> Any:
    from fastweights.services.session_parts import build_parts

    return build_parts(model, options_of(model, "mix", _CHUNK)).learner


def _pieces(model: OpenModel) -> list[bytes]:
    tokenizer = model.loaded.tokenizer
    return [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)]


def _cpu_seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
