"""How well a model predicts a text: nats, streamed (the state carried from the first byte to the last) or cold.

One definition for training's held-out figure and for ``eval ppl``. A document starts with ``bos`` and a fresh state;
every token of the text is predicted once; ``bos`` and ``eos`` themselves are not counted.
Legend: B sequences, T time, V vocabulary.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WINDOW = 1024
COLD_WINDOW = 64


class Cancelled(Exception):
    """The caller's ``cancelled`` said so; there is no figure."""


@dataclass(frozen=True)
class Score:
    """``nats`` over ``tokens`` predicted tokens."""

    nats: float
    tokens: int

    def bits_per_byte(self, n_bytes: int) -> float:
        return self.nats / math.log(2) / n_bytes


def stream_score(
    model: nn.Module,
    pieces: Iterable[np.ndarray],
    bos_id: int,
    *,
    window: int = WINDOW,
    cancelled: Callable[[], bool] | None = None,
    inference: bool = True,
) -> Score:
    """One document, given as arrays of ids without specials, read from front to end with the state carried.

    ``inference=False``: without gradients only, for a model in shards, whose buffers training uses again.
    """
    device = next(model.parameters()).device
    nats, tokens, carry, last = 0.0, 0, None, bos_id
    with torch.inference_mode() if inference else torch.no_grad():
        for ids in _rechunk(pieces, window):
            if cancelled is not None and cancelled():
                raise Cancelled
            y_T = torch.from_numpy(ids.astype(np.int64)).to(device)
            x_T = torch.cat([torch.tensor([last], device=device), y_T[:-1]])
            logits_BTV, carry = model(x_T[None], carry)
            nats += float(F.cross_entropy(logits_BTV[0].float(), y_T, reduction="sum"))
            tokens += len(ids)
            last = int(ids[-1])
    return Score(nats, tokens)


def cold_score(
    model: nn.Module,
    pieces: Iterable[np.ndarray],
    bos_id: int,
    *,
    window: int = COLD_WINDOW,
    batch: int = 64,
    cancelled: Callable[[], bool] | None = None,
    inference: bool = True,
) -> Score:
    """The same text in windows without any history: each starts with ``bos`` and a fresh state."""
    device = next(model.parameters()).device
    nats, tokens = 0.0, 0
    with torch.inference_mode() if inference else torch.no_grad():
        for ids in _rechunk(pieces, window * batch):
            if cancelled is not None and cancelled():
                raise Cancelled
            whole = len(ids) // window * window
            for part in (ids[:whole].reshape(-1, window), ids[None, whole:]):
                if not part.size:
                    continue
                y_BT = torch.from_numpy(part.astype(np.int64)).to(device)
                x_BT = torch.cat([torch.full_like(y_BT[:, :1], bos_id), y_BT[:, :-1]], dim=1)
                logits_BTV, _ = model(x_BT, None)
                nats += float(F.cross_entropy(logits_BTV.flatten(0, 1).float(), y_BT.flatten(), reduction="sum"))
                tokens += part.size
    return Score(nats, tokens)


def corpus_score(
    model: nn.Module,
    ids: np.ndarray,
    tokenizer: Any,
    *,
    limit: int | None = None,
    window: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    inference: bool = True,
) -> tuple[Score, int]:
    """Streaming score of ids as a corpus keeps them (``bos … eos bos … eos``), and the bytes of the text scored.

    ``limit``: only that many tokens from the front. ``window``: cold, in windows of that many tokens.
    """
    ids = np.asarray(ids[: limit + 1] if limit is not None else ids)
    starts = np.flatnonzero(ids == tokenizer.bos_id)
    nats, tokens, n_bytes = 0.0, 0, 0
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        document = ids[start + 1 : end]
        if len(document) and document[-1] == tokenizer.eos_id:
            document = document[:-1]
        how: dict[str, Any] = {"cancelled": cancelled, "inference": inference}
        if window is None:
            score = stream_score(model, [document], tokenizer.bos_id, **how)
        else:
            batch = max(1, 4096 // window)
            score = cold_score(model, [document], tokenizer.bos_id, window=window, batch=batch, **how)
        nats, tokens = nats + score.nats, tokens + score.tokens
        n_bytes += sum(len(tokenizer.decode_bytes(piece)) for piece in _rechunk([document], 1 << 16))
    return Score(nats, tokens), n_bytes


def _rechunk(pieces: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same ids in arrays of exactly ``size`` (the last may be shorter), however they came."""
    rest = np.empty(0, dtype=np.uint16)
    for piece in pieces:
        rest = np.concatenate([rest, piece]) if len(rest) else piece
        whole = len(rest) // size * size
        for at in range(0, whole, size):
            yield rest[at : at + size]
        rest = rest[whole:]
    if len(rest):
        yield rest
