"""What ``demo stream`` measures: what the command prints, the store keeps and the API serves. Torch-free."""

from fastweights.services.records import Record
from fastweights.services.session_records import Environment


class StreamScore(Record):
    """Of next-token prediction. ``accuracy``: share of tokens that were the best guess; ``loss``: nats per token."""

    accuracy: float
    loss: float


class StreamPoint(Record):
    """What the next token costs where ``context`` tokens have been read.

    Milliseconds are CPU time of one thread, means over the next chunk; ``ms_per_token`` has ``update_ms_per_token``,
    the chunk's update spread over its tokens, in it. Full attention: the same network, nothing learned, a key-value
    cache of the whole text; null where it was not run.
    """

    context: int
    ms_per_token: float
    update_ms_per_token: float
    state_bytes: int
    full_attention_ms_per_token: float | None = None
    full_attention_state_bytes: int | None = None


class StreamReport(Record):
    """``model`` null: fresh weights from ``seed``. ``query``: of the tokens after the context, read in the same stream;
    ``query_off``: the same, nothing learned. ``parity``: largest difference of a logit between token by token and
    in one batch. ``growth``: cost of a token at the last point over that at the first; ``full_attention_ratio``: full
    attention's over ours, at the last point."""

    stream_id: str
    created_at: str
    model: str | None
    seed: int
    params: int
    fast_params: int
    dim: int
    layers: int
    suffix_layers: int
    window: int
    chunk: int
    context_len: int
    query_len: int
    source: str
    updates: int
    query: StreamScore
    query_off: StreamScore
    parity: float
    full_attention_parity: float | None
    points: list[StreamPoint]
    growth: float
    full_attention_ratio: float | None
    notice: str | None
    environment: Environment
    cpu_seconds: float
