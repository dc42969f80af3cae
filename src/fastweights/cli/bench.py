"""``fastweights bench``: each hot path beside its naive twin in the same run; parity first, then a ratio."""

from typing import Any, Literal

from cyclopts import App

from fastweights.cli import output

app = App(name="bench", help="Measure speed; each bench checks that its fast path is right first.")


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
    from fastweights.services.bench_chat import bench_chat

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
    from fastweights.services.bench import bench_decode

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
    from fastweights.services.bench_gate import bench_gate

    _report(bench_gate(size=size, repeats=repeats, seed=seed))


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
    from fastweights.services.bench_monitor import bench_monitor

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
    from fastweights.services.bench import bench_scan

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
    from fastweights.services.bench_store import bench_store

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
) -> None:
    """TTT-Linear's inner loop: token by token, by chunks, with its own backward, and through torch.compile.

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
    """
    from fastweights.services.bench_ttt import bench_ttt

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
    for name in ("primal", "dual", "handwritten", "compiled"):
        if found := result[name]:
            ratio = result["ratio"].get(name, {"forward": 1.0, "forward_backward": 1.0})
            speed = [f"{found[kind] / 1e3:.1f}k" for kind in ("forward", "forward_backward")]
            rows.append((name, *speed, *(f"{ratio[kind]:.1f}x" for kind in ("forward", "forward_backward"))))
    titles = ("way", "forward/s", "and backward/s", "to primal", "and backward")
    output.current().emit(result, lambda: output.table(rows, titles))
    got = result["ratio"]["handwritten"]["forward"]
    if assert_speedup is not None and not got >= assert_speedup:
        output.current().notice(f"--assert-speedup {assert_speedup:g}: forward is only {got:.2f} times as fast")
        raise output.Exit(output.FAILED)


def _report(result: dict[str, Any]) -> None:
    shown = {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in result.items() if not isinstance(v, (list, dict))}
    output.current().emit(result, lambda: output.table(shown.items(), ("figure", "value")))
