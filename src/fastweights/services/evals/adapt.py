"""``eval adapt``: does learning while reading help, what does it cost, and against which controls. Torch loads late.

Prequential: each chunk is scored under the weights before it, then learned from, through the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError, NotFound
from fastweights.models.memory.names import DEFAULT, MEMORIES, MemoryName
from fastweights.services.evals.adapt_reads import (
    Read,
    adapted,
    bias,
    check,
    chunks_of,
    dynamic,
    frozen,
    random_updates,
    usual_memory,
)
from fastweights.services.evals.compressors import COMPRESSORS, figures
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.store.root import Store

CONTROLS = ("bias", "random", "shuffled", "dynamic", *COMPRESSORS)
BESIDE_HEAD = ("bias", "random")
"""Controls of models that are frozen themselves."""
MAX_BYTES = 1 << 20


def eval_adapt(
    store: Store,
    texts: Sequence[Path],
    *,
    model_id: str | None = None,
    memories: Sequence[MemoryName] = MEMORIES,
    chunk_tokens: int = 64,
    controls: bool = True,
    guard: bool = True,
    seed: int = 0,
    on_row: Callable[[str, str, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The JSON that ``eval adapt`` prints; ``on_row(file, name, figures)`` gets each row as it is done.

    ``cpu_ms_per_kb``: of reading and learning, the model's own pass included, on one thread; the guard's cost is
    ``guard_ms_per_kb``. ``gain``: bits per byte below the frozen model, with a 95 % interval by block bootstrap.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory

    if not texts:
        raise FastweightsError("text: name at least one file")
    check(chunk_tokens, seed)
    contents = {str(path): _bytes(path) for path in texts}
    torch.set_num_threads(1)
    keep_freed_memory()
    pool = ModelPool(store)
    model = pool.open(pool.models.resolve(model_id))
    usual = usual_memory(pool, model)
    names: list[MemoryName] = [name for name in MEMORIES if usual and (name in memories or name == usual)]
    rows = []
    for file, data in contents.items():
        found = _one_text(
            model, data, names, chunk_tokens, controls, guard, seed, lambda n, r, f=file: _tell(on_row, f, n, r)
        )
        rows.append({"file": file, "bytes": len(data), **found})
    return {
        "model_id": model.loaded.model_id,
        "chunk_tokens": chunk_tokens,
        "guard": guard,
        "default_memory": usual,
        "memories": names,
        "controls": [name for name in CONTROLS if controls and (usual or name not in BESIDE_HEAD)],
        "threads": 1,
        "texts": rows,
        "cpu_seconds": cpu_seconds(),
    }


def _tell(on_row: Callable[[str, str, dict[str, Any]], None] | None, file: str, name: str, row: dict[str, Any]) -> None:
    if on_row is not None:
        on_row(file, name, row)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFound(f"text {str(path)!r} is no file: name one that exists")
    data = path.read_bytes()[:MAX_BYTES]
    if not data:
        raise FastweightsError(f"text {str(path)!r} is empty: there is nothing to predict")
    return data


def _one_text(
    model: OpenModel,
    data: bytes,
    names: list[MemoryName],
    chunk_tokens: int,
    controls: bool,
    guard: bool,
    seed: int,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    import numpy as np

    chunks = chunks_of(model, data, chunk_tokens)
    base = frozen(model, chunks)
    found: dict[str, Any] = {}

    def add(name: str, read: Read, over: Read = base) -> None:
        found[name] = read.figures(len(data), over, seed)
        tell(name, found[name])

    add("frozen", base)
    for name in names:
        add(name, adapted(model, chunks, name, chunk_tokens, guard))
    usual = DEFAULT if names else None  # None: its own rule
    if usual is None:
        add("default", adapted(model, chunks, None, chunk_tokens, guard))
    found["default"] = {"memory": usual, **found[usual or "default"]}
    if not controls:
        return found
    if names:
        add("bias", bias(model, chunks))
        add("random", random_updates(model, chunks, chunk_tokens, seed))
    mixed = np.random.default_rng(seed).permutation(np.frombuffer(data, np.uint8)).tobytes()
    again = chunks_of(model, mixed, chunk_tokens)
    add("shuffled", adapted(model, again, usual, chunk_tokens, guard), frozen(model, again))
    add("dynamic", dynamic(model, chunks))
    for compressor in COMPRESSORS:
        found[compressor] = figures(compressor, data)
        tell(compressor, found[compressor])
    return found
