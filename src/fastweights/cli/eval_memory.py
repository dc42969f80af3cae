"""``fastweights eval adapt`` and ``eval recall``: what the memories are worth, beside their controls."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastweights.cli import output
from fastweights.models.memory.names import MemoryName

_LIST = Parameter(negative="", consume_multiple=True)


def adapt(
    *,
    text: Annotated[list[Path], _LIST],
    model: str | None = None,
    memory: Annotated[list[MemoryName] | None, _LIST] = None,
    chunk_tokens: int = 64,
    controls: bool = True,
    guard: bool = True,
    seed: int = 0,
    png: Path | None = None,
) -> None:
    """Bits per byte of texts for each memory that learns as it reads, for the frozen model, and for controls.

    Parameters
    ----------
    text
        Files (several may follow); of each at most 1 MiB is read.
    model
        Id of a model (default: the latest usable one).
    memory
        Only these (linear, low_rank, head, delta, ngram, mix); the default one is always there.
    chunk_tokens
        Tokens that are scored, then learned.
    controls
        bias: a logit bias alone; random: updates as long as the linear net's, in random directions; shuffled: the
        default memory on the text's bytes in random order; dynamic: dynamic evaluation of all weights; xz, ppm
        (PPMd, order 6): those compressors on the same bytes.
    guard
        Write through the default guard; --no-guard: make every write.
    seed
        Of the bootstrap, the random updates and the shuffling.
    png
        Draw a picture into this file (needs matplotlib).
    """
    from fastweights.models.memory.names import MEMORIES
    from fastweights.services.evals.adapt import eval_adapt

    out = output.current()
    found = eval_adapt(
        out.store(),
        text,
        model_id=model,
        memories=memory or MEMORIES,
        chunk_tokens=chunk_tokens,
        controls=controls,
        guard=guard,
        seed=seed,
        on_row=lambda file, name, row: out.notice(f"{file}: {name} {row['bits_per_byte']:.3f} bits per byte"),
    )
    if png is not None:
        from fastweights.services.evals.adapt_plot import adapt_png

        png.write_bytes(adapt_png(found))
    out.emit(found, lambda: "\n\n".join(_adapt_table(row) for row in found["texts"]))


def _adapt_table(row: dict[str, Any]) -> str:
    head = ("reader", "bits/byte", "gain", "95 % of it", "ms/kB", "guard ms/kB", "refused")
    lines = []
    for name, figures in row.items():
        if not isinstance(figures, dict):
            continue
        low, high = figures.get("gain_ci95", (None, None))
        band = None if low is None else f"{low:+.3f} to {high:+.3f}"
        chunks = figures.get("chunks")
        refused = None if chunks is None else f"{figures['refused']} of {chunks}"
        lines.append(
            (
                name,
                f"{figures['bits_per_byte']:.3f}",
                None if low is None else f"{figures['gain']:+.3f}",
                band,
                figures["cpu_ms_per_kb"],
                figures.get("guard_ms_per_kb"),
                refused,
            )
        )
    return f"{row['file']} ({row['bytes']:,} bytes)\n{output.table(lines, head)}"


def recall(
    *,
    model: str | None = None,
    distance: Annotated[list[int] | None, _LIST] = None,
    times: Annotated[list[int] | None, _LIST] = None,
    facts: int = 12,
    memory: Annotated[list[MemoryName] | None, _LIST] = None,
    chunk_tokens: int = 64,
    guard: bool = True,
    seed: int = 0,
) -> None:
    """Bits per letter of stated facts, so many bytes later, by memory; beside attention over a window of equal size.

    Parameters
    ----------
    model
        Id of a model (default: the latest usable one).
    distance
        Bytes of other text between, one or several (2048).
    times
        How often each fact is stated, one or several (1 3).
    facts
        How many are stated.
    memory
        Only these (linear, low_rank, head, delta, ngram, mix); the default one is always there.
    chunk_tokens
        Tokens that are scored, then learned.
    guard
        Write through the default guard; --no-guard: make every write.
    seed
        Of names, letters and where the text between begins.
    """
    from fastweights.models.memory.names import MEMORIES
    from fastweights.services.evals.recall import eval_recall

    out = output.current()
    found = eval_recall(
        out.store(),
        model_id=model,
        distances=distance or (2048,),
        times=times or (1, 3),
        facts=facts,
        memories=memory or MEMORIES,
        chunk_tokens=chunk_tokens,
        guard=guard,
        seed=seed,
        on_row=lambda row: out.notice(
            f"{row['memory']} at {row['distance']:,}, stated {row['times']}: {row['bits_per_letter']:.2f} bits a letter"
        ),
    )
    keys = ("memory", "distance", "times", "facts", "bits_per_letter", "state_bytes")
    rows = [tuple(row[key] for key in keys) for row in found["results"]]
    out.emit(found, lambda: output.table(rows, [key.replace("_", " ") for key in keys]))
