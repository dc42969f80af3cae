"""What ``demo stream`` measures: what the command prints, the store keeps and the API serves. Torch-free."""

from pydantic import Field

from fastweights.services.records import ID_PATTERN, Record
from fastweights.services.verbs.records import Environment


class StreamRequest(Record):
    """What streams through which model. ``model`` none: fresh weights of the sizes given."""

    model: str | None = Field(default=None, pattern=ID_PATTERN)
    context_len: int | None = Field(default=None, ge=1, le=1 << 24)
    query_len: int | None = Field(default=None, ge=1, le=1 << 24)
    window_size: int | None = Field(default=None, ge=1, le=1 << 20)
    chunk_size: int | None = Field(default=None, ge=1, le=1 << 20)
    corpus: str = Field(default="tiny", max_length=4096)
    dim: int = 256
    heads: int = 4
    layers: int = 4
    suffix_layers: int = 1
    seed: int = Field(default=0, ge=0, lt=2**31)
    full_attention: bool = True


class StreamScore(Record):
    """Of next-token prediction. ``accuracy``: share of tokens that were the best guess; ``loss``: nats per token."""

    accuracy: float
    loss: float


class StreamPoint(Record):
    """What the next token costs where ``context`` tokens have been read.

    Milliseconds are CPU time of one thread, medians over blocks of the next chunk's tokens, which full attention reads
    in turn; ``ms_per_token`` has ``update_ms_per_token``, the update before that chunk spread over a chunk's tokens, in
    it. Full attention: the same network and code, nothing learned, a preallocated key-value cache of the whole text;
    null where it was not run.
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
