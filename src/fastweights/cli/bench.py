"""``fastweights bench``: each hot path beside its naive twin in the same run; parity first, then a ratio."""

from typing import Any, Literal

from cyclopts import App

from fastweights.cli import output

app = App(name="bench", help="Measure speed; each bench checks that its fast path is right first.")


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


@app.command
def ttt(
    *,
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu",
    dtype: Literal["fp32", "bf16"] = "fp32",
    batch: int = 1,
    heads: int = 4,
    head_dim: int = 64,
    chunk: int = 16,
    seq: int = 512,
    repeats: int = 7,
    compiled: bool = True,
    assert_speedup: float | None = None,
    model: bool = False,
    memory: bool = False,
) -> None:
    """TTT-Linear's inner loop: token by token, by chunks, with its own backward, and through torch.compile.

    primal: the slow twin that the tests compare with. primal_fused: the same with torch's fused LayerNorm and steps in
    place. official: the official variant's chunks, plainly.

    Parameters
    ----------
    device
        Where.
    dtype
        Of the inputs; the inner loop computes in fp32.
    batch
        Sequences side by side.
    heads
        Of the layer.
    head_dim
        Width of a head.
    chunk
        Tokens of a chunk.
    seq
        Tokens of a sequence, a multiple of chunk.
    repeats
        Runs of each; the median counts.
    compiled
        Also measure torch.compile (the first run compiles, 10 to 40 s).
    assert_speedup
        Exit with 1 unless the handwritten loop's forward is so many times as fast as the primal's.
    model
        Instead, a whole model (hidden 256, 4 layers) at 512 to 8192 tokens: reading, training, decoding, memory; of
        the other flags it heeds device, batch, chunk and repeats.
    memory
        Instead, the bytes that training that model holds at 512 to 8192 tokens, with checkpoints through time and
        without, and the power of the length with which they grow; it heeds device, batch and chunk.
    """
    if model and memory:
        raise output.UsageError("--model and --memory are two benches: give one of them")
    if memory:
        from fastweights.services.bench.ttt_memory import bench_ttt_memory

        held = bench_ttt_memory(device=device, batch=batch, chunk=chunk)
        keys = ("seq", "segment_chunks", "live_mb", "live_mb_off")
        rows = [*(tuple(row[key] for key in keys) for row in held["rows"])]
        rows.append(("grows as T^", "", held["exponent"], held["exponent_off"]))
        titles = ("tokens", "segment, chunks", "live MB", "without checkpoints")
        output.current().emit(held, lambda: output.table(rows, titles))
        return
    if model:
        from fastweights.services.bench.ttt_model import bench_ttt_model

        whole = bench_ttt_model(device=device, batch=batch, chunk=chunk, repeats=repeats)
        to = whole["to_official"]
        rows = [
            (name, f"{rate:.0f}/s", f"{to[name]:.1f}" if name in to else "")
            for name, rate in whole["tokens_per_second"].items()
        ]
        rows += [(f"peak at {t}", str(peaks), "") for t, peaks in whole["peak_bytes"].items()]
        output.current().emit(whole, lambda: output.table(rows, ("figure", "value", "x official")))
        return
    from fastweights.services.bench.ttt import bench_ttt

    result = bench_ttt(
        device=device,
        dtype=dtype,
        batch=batch,
        heads=heads,
        head_dim=head_dim,
        chunk=chunk,
        seq=seq,
        repeats=repeats,
        compiled=compiled,
    )
    rows = []
    for name in ("primal", "primal_fused", "official", "dual", "handwritten", "compiled"):
        if found := result[name]:
            kinds = ("forward", "forward_backward")
            speed = [f"{found[kind] / 1e3:.1f}k" for kind in kinds]
            to = [
                " / ".join(f"{found[kind] / result[base][kind]:.1f}" for kind in kinds)
                for base in ("primal", "primal_fused", "official")
            ]
            rows.append((name, *speed, *to))
    titles = ("way", "forward/s", "and backward/s", "x primal", "x primal_fused", "x official")
    output.current().emit(result, lambda: output.table(rows, titles))
    got = result["ratio"]["handwritten"]["forward"]
    if assert_speedup is not None and not got >= assert_speedup:
        output.current().notice(f"--assert-speedup {assert_speedup:g}: forward is only {got:.2f} times as fast")
        raise output.Exit(output.FAILED)


def _report(result: dict[str, Any]) -> None:
    shown = {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in result.items() if not isinstance(v, (list, dict))}
    output.current().emit(result, lambda: output.table(shown.items(), ("figure", "value")))
