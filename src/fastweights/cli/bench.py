"""``fastweights bench``: each hot path beside its naive twin in the same run; parity first, then a ratio."""

from typing import Any, Literal

from cyclopts import App

from fastweights.cli import output
from fastweights.cli.bench_ttt import ttt

app = App(name="bench", help="Measure speed; each bench checks that its fast path is right first.")
app.command(ttt)


@app.command
def attention(
    *, seq: int = 2048, heads: int = 4, dim: int = 64, batch: int = 1, window: int = 128, repeats: int = 3
) -> None:
    """Window attention: explicit softmax, torch's MATH backend, our own backwards, and those in blocks (banded).

    Milliseconds of forward, backward and double backward, and the memory of all three, after a check that all agree.

    Parameters
    ----------
    seq
        Tokens of a sequence.
    heads
        Of the layer.
    dim
        Width of a head.
    batch
        Sequences side by side.
    window
        Tokens that a token sees, itself included.
    repeats
        Runs of each; the median counts.
    """
    from fastweights.services.bench.attention import PHASES, bench_attention

    result = bench_attention(seq=seq, heads=heads, dim=dim, batch=batch, window=window, repeats=repeats)
    rows = []
    for name in ("explicit", "math", "custom", "banded"):
        peak = result[name]["peak_bytes"]
        shown = [f"{result[name][f'{phase}_ms']:.1f}" for phase in PHASES]
        rows.append((name, *shown, "-" if peak is None else f"{peak / 2**20:.0f}"))
    titles = ("way", "forward ms", "backward ms", "double backward ms", "peak MB")
    output.current().emit(result, lambda: output.table(rows, titles))


@app.command
def chat(*, model: str | None = None, learn: int = 256, generate: int = 64, repeats: int = 9) -> None:
    """A chat turn: learn from the prompt through the guard, generate, commit (fsync excluded).

    Parameters
    ----------
    model
        Model id (default: random weights, about 1M parameters).
    learn
        Prompt tokens.
    generate
        Reply tokens.
    repeats
        Turns; the median counts.
    """
    from fastweights.services.bench.chat import bench_chat

    shared = output.current()
    _report(bench_chat(shared.store(), model, learn=learn, generate=generate, repeats=repeats))


@app.command
def decode(*, model: str | None = None, prefix: int = 256, tokens: int = 64, repeats: int = 5) -> None:
    """Decoding with the state carried, against reading the whole text so far anew for each token.

    Parameters
    ----------
    model
        Model id (default: random weights, about 1M parameters).
    prefix
        Tokens that the text has in the end; what the twin reads for the last token.
    tokens
        Tokens decoded, the last ones of the text.
    repeats
        Runs of each; the median counts.
    """
    from fastweights.services.bench.tiny_lm import bench_decode

    _report(bench_decode(output.current().store(), model, prefix=prefix, tokens=tokens, repeats=repeats))


@app.command
def gate(*, size: int = 65_536, repeats: int = 9, seed: int = 0) -> None:
    """The input gate on texts made to cost it most: CPU milliseconds a verdict, and how they grow.

    Parameters
    ----------
    size
        Characters a text.
    repeats
        Texts of each family.
    seed
        Of the texts.
    """
    from fastweights.services.bench.gate import bench_gate

    _report(bench_gate(size=size, repeats=repeats, seed=seed))


@app.command
def gradgrad(
    *, blocks: int = 2, chunks: int = 3, chunk: int = 5, window: int = 6, directions: int = 3, seed: int = 0
) -> None:
    """Whether a meta-gradient is exact: against finite differences in fp64, and with inner steps recomputed.

    A small stack of window attention and SwiGLUs of which some learn after each chunk. Exits with 1 if it is not exact.

    Parameters
    ----------
    blocks
        Of the stack, at least 2: only then does the inner gradient go through attention.
    chunks
        Chunks read, with an inner step after each.
    chunk
        Tokens of a chunk.
    window
        Of the attention; it is carried from chunk to chunk.
    directions
        Random directions in each group of parameters.
    seed
        Of weights, text and directions.
    """
    from fastweights.services.bench.gradgrad import bench_gradgrad

    found = bench_gradgrad(blocks=blocks, chunks=chunks, chunk=chunk, window=window, directions=directions, seed=seed)
    rows = [(f"finite differences, {group}", f"{value:.1e}") for group, value in found["finite_differences"].items()]
    rows += [(name.replace("_", " "), f"{found[name]:.1e}") for name in ("checkpointed", "first_order")]
    output.current().emit(found, lambda: output.table(rows, ("relative difference", "worst")))


@app.command
def memory(*, model: str | None = None, size: int = 8192, repeats: int = 3) -> None:
    """Reading text with the default memory of chats, beside the frozen pass, the guard, and its plain definition.

    Parameters
    ----------
    model
        Model id (default: the starter).
    size
        Bytes of a text that ships; the plain twin reads a quarter of them.
    repeats
        Reads of each; the median counts.
    """
    from fastweights.services.bench.memory import bench_memory

    _report(bench_memory(output.current().store(), model, size=size, repeats=repeats))


@app.command
def monitor(
    *, backbone: Literal["ssm", "gru"] = "ssm", chunk_tokens: int = 128, tokens: int = 20_000, repeats: int = 5
) -> None:
    """The monitor on the toy model, every check on, against autograd and canaries read one by one.

    Parameters
    ----------
    backbone
        Of the toy.
    chunk_tokens
        Tokens a chunk.
    tokens
        Tokens read each time (of the shipped text, repeated).
    repeats
        Readings; the median counts.
    """
    from fastweights.services.bench.monitor import bench_monitor

    store = output.current().store()
    _report(bench_monitor(store, backbone=backbone, chunk_tokens=chunk_tokens, tokens=tokens, repeats=repeats))


@app.command
def scan(*, batch: int = 16, length: int = 256, dim: int = 128, repeats: int = 9) -> None:
    """The gated recurrence, forward and backward, against autograd through a loop.

    Parameters
    ----------
    batch
        Sequences side by side.
    length
        Steps of time.
    dim
        Channels.
    repeats
        Runs of each; the median counts.
    """
    from fastweights.services.bench.tiny_lm import bench_scan

    _report(bench_scan(batch, length, dim, repeats))


@app.command
def store(*, sessions: int = 5000, repeats: int = 5) -> None:
    """Listing a store of many sessions: with the index, without it, and opening each session by itself.

    Parameters
    ----------
    sessions
        How many.
    repeats
        Listings of each; the median counts.
    """
    from fastweights.services.bench.store import bench_store

    _report(bench_store(sessions, repeats))


def _report(result: dict[str, Any]) -> None:
    shown = {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in result.items() if not isinstance(v, (list, dict))}
    output.current().emit(result, lambda: output.table(shown.items(), ("figure", "value")))
