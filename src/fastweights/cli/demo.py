"""``fastweights demo``: what a model does, shown with its cost."""

from cyclopts import App

from fastweights.cli import output
from fastweights.hints import validate_given
from fastweights.services.stream.records import StreamReport, StreamRequest

app = App(name="demo", help="Demos: a stream through a TTT-E2E model.")


@app.command
def stream(
    *,
    model: str | None = None,
    context_len: int | None = None,
    query_len: int | None = None,
    window_size: int | None = None,
    chunk_size: int | None = None,
    corpus: str | None = None,
    dim: int | None = None,
    heads: int | None = None,
    layers: int | None = None,
    suffix_layers: int | None = None,
    seed: int | None = None,
    full_attention: bool | None = None,
) -> None:
    """Token by token through a TTT-E2E model that learns from every chunk: accuracy, cost a token, size of the state.

    After a check that streamed logits are those of one batch. The report is kept in the store, for the dashboard.

    Parameters
    ----------
    model
        Id of a model of kind e2e (default: fresh weights).
    context_len
        Tokens before those that are scored (default: 8192; of a KV model, the records of its task).
    query_len
        Tokens that are scored (default: 2048; of a KV model, the queries of its task).
    window_size
        Tokens that attention sees (default: the model's, or 512).
    chunk_size
        Tokens before each update (default: the model's, or 1024). A window that is smaller goes in sub-blocks.
    corpus
        File, folder, or tiny (the default), shakespeare, synthetic: its end is read. A KV model reads its own task.
    dim
        Of fresh weights: channels (256).
    heads
        Of fresh weights: attention heads (4).
    layers
        Of fresh weights: blocks (4).
    suffix_layers
        Of fresh weights: last blocks, which learn (1).
    seed
        Of fresh weights, and of the KV task.
    full_attention
        Measure the same network with full attention, too (the default).
    """
    from fastweights.services.stream.measure import demo_stream

    request = validate_given(
        StreamRequest,
        "demo stream",
        model=model,
        context_len=context_len,
        query_len=query_len,
        window_size=window_size,
        chunk_size=chunk_size,
        corpus=corpus,
        dim=dim,
        heads=heads,
        layers=layers,
        suffix_layers=suffix_layers,
        seed=seed,
        full_attention=full_attention,
    )
    shared = output.current()
    report = demo_stream(shared.store(), request, shared.notice)
    shared.emit(report, lambda: _describe(report))


def _describe(report: StreamReport) -> str:
    head = ("context", "ms a token", "of it update", "tokens/s", "state MB", "full attention ms", "its cache MB")
    rows = []
    for one in report.points:
        theirs = one.full_attention_state_bytes
        rows.append(
            (
                one.context,
                f"{one.ms_per_token:.3f}",
                f"{one.update_ms_per_token:.3f}",
                f"{1e3 / one.ms_per_token:.0f}",
                f"{one.state_bytes / 2**20:.2f}",
                one.full_attention_ms_per_token,
                None if theirs is None else f"{theirs / 2**20:.1f}",
            )
        )
    query, off = report.query, report.query_off
    lines = [
        f"{report.model or 'fresh weights'}, {report.params:,} parameters, {report.fast_params:,} of them fast; "
        f"{report.updates} updates over {report.context_len} + {report.query_len} tokens ({report.source})",
        f"query: accuracy {query.accuracy:.3f}, {query.loss:.3f} nats a token; nothing learned: {off.accuracy:.3f}, "
        f"{off.loss:.3f}",
        f"streamed against one batch: logits differ by {report.parity:.1e} at most",
        output.table(rows, head),
        f"last against first point: {report.growth:.2f} times the cost",
    ]
    if report.full_attention_ratio is not None:
        lines.append(f"full attention costs {report.full_attention_ratio:.1f} times as much there")
    return "\n".join(lines)
