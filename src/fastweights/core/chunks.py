"""Cutting a stream of token ids into next-token chunks."""

from collections.abc import Iterator, Sequence

import torch

from fastweights.core.state import Chunk


def next_token_chunks(last: int, ids: Sequence[int], chunk_tokens: int) -> Iterator[Chunk]:
    """Chunks (B = 1) of at most ``chunk_tokens`` targets; every id of ``ids`` is a target exactly once.

    ``last`` is the token before ``ids`` in the stream (the one whose successor was still unknown).
    """
    if chunk_tokens < 1:
        raise ValueError(f"chunk_tokens is {chunk_tokens}; at least 1")
    stream = torch.tensor([last, *ids], dtype=torch.long)
    for start in range(0, len(ids), chunk_tokens):
        stop = min(start + chunk_tokens, len(ids))
        targets_BT = stream[None, start + 1 : stop + 1]
        yield Chunk(stream[None, start:stop], targets_BT, torch.ones_like(targets_BT, dtype=torch.bool))
