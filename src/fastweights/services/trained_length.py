"""What to say of a TTT model that reads past the length it was trained on; docs/ttt.md has the measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastweights.models.registry import LoadedModel


def longest(loaded: LoadedModel) -> int | None:
    """Tokens that the model may read on end; None where there is no such length, or none is known."""
    config, trained = loaded.lm.config, loaded.manifest.get("train_config") or {}
    if config.kind != "ttt_lm" or config.attention is not None or trained.get("reading") == "streams":
        return None
    return trained.get("seq_len") or None


def past_length(loaded: LoadedModel, before: int, after: int, remedy: str) -> str | None:
    """None, or a warning for the stretch of tokens, read on end, in which the model came past its length.

    ``remedy``: what starts afresh; ``{}`` in it stands for that length. Models whose weights do not grow as they read,
    those trained on carried streams and those of which no length is known have none.
    """
    length = longest(loaded)
    if length is None or not before <= length < after:
        return None
    return (
        f"the model was trained on {length} tokens at a time and read {after:,} on end: its weights grow as it reads, "
        f"and past its length it may predict ever worse; {remedy.format(length)}"
    )
