"""A report of ``demo stream`` that measured nothing: every field in its place."""

from typing import Any

from fastweights.services.stream.records import StreamReport

_ENVIRONMENT = {"fastweights": "0", "torch": "0", "numpy": "0", "threads": 1, "device": "cpu", "cpu": "none"}


def stream_report(stream_id: str, created_at: str = "2026-01-01", **changes: Any) -> StreamReport:
    figures = dict.fromkeys(
        ("seed", "params", "fast_params", "dim", "layers", "suffix_layers", "window", "chunk", "updates"), 0
    )
    score = {"accuracy": 0.5, "loss": 1.0}
    point = {"context": 0, "ms_per_token": 1.0, "update_ms_per_token": 0.1, "state_bytes": 8}
    fields = {
        **figures,
        "stream_id": stream_id,
        "created_at": created_at,
        "model": None,
        "context_len": 8,
        "query_len": 4,
        "source": "tiny",
        "query": score,
        "query_off": score,
        "parity": 0.0,
        "full_attention_parity": None,
        "points": [point],
        "growth": 1.0,
        "full_attention_ratio": None,
        "notice": None,
        "environment": _ENVIRONMENT,
        "cpu_seconds": 0.0,
    }
    return StreamReport.model_validate({**fields, **changes})
