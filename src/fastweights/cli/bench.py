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


def _report(result: dict[str, Any]) -> None:
    shown = {k: f"{v:.2f}" if isinstance(v, float) else v for k, v in result.items() if not isinstance(v, (list, dict))}
    output.current().emit(result, lambda: output.table(shown.items(), ("figure", "value")))
