"""Bits per byte of any file under any model: streamed (state carried from front to end) or cold (short windows)."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from fastweights.data.bpe import blocks
from fastweights.data.tokenizer import Tokenizer
from fastweights.errors import FastweightsError, NotFound
from fastweights.hints import near_miss
from fastweights.models.scoring import COLD_WINDOW, cold_score, stream_score

Split = Literal["all", "heldout"]


@dataclass(frozen=True)
class Perplexity:
    """``bits_per_byte`` over ``bytes`` bytes of text that were read as ``tokens`` tokens."""

    bits_per_byte: float
    nats_per_byte: float
    bytes: int
    tokens: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def perplexity(
    model: nn.Module,
    tokenizer: Tokenizer,
    path: Path,
    *,
    split: Split = "all",
    val_fraction: float = 0.1,
    stream: bool = True,
    cold_window: int = COLD_WINDOW,
) -> Perplexity:
    """Score a file of any size and content, read block by block.

    ``split="heldout"``: its last ``val_fraction`` of bytes, cut where training cuts a single file. Cold: windows of
    ``cold_window`` tokens, each without history. ``FastweightsError`` for a missing or empty file.
    """
    if path.is_dir():
        raise NotFound(f"file {path} is a folder; name one file")
    if not path.exists():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise NotFound(f"file {path} does not exist{near_miss(path.name, names, listing=False)}")
    size = path.stat().st_size
    start = int(size * (1 - val_fraction)) if split == "heldout" else 0
    if start == size:
        raise FastweightsError(f"file {path} is empty; there is nothing to predict")
    pieces = _ids(path, start, size, tokenizer)
    if stream:
        score = stream_score(model, pieces, tokenizer.bos_id)
    else:
        score = cold_score(model, pieces, tokenizer.bos_id, window=cold_window)
    bits = score.bits_per_byte(size - start)
    return Perplexity(bits, bits * math.log(2), size - start, score.tokens)


def _ids(path: Path, start: int, end: int, tokenizer: Tokenizer) -> Iterator[np.ndarray]:
    with path.open("rb") as file:
        file.seek(start)
        for block in blocks(file, end - start):
            yield tokenizer.encode_array(block)
