"""The loop over chunks through ``torch.compile``: segments of a few chunks become one graph each. Never required.

The first call compiles (10 to 40 s on a CPU); where chunks are left over, they run uncompiled.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastweights.layers.norm import plain_normalize
from fastweights.layers.ttt_inner import Fast, Inner, Target, fold, scaled

CHUNKS = 8
"""Chunks that one graph unrolls."""


def _segment(
    inner: type[Inner],
    fast: list[Fast],
    q_NPLD: Tensor,
    k_NPLD: Tensor,
    c_NPL1: Tensor,
    target: Target,
    seen_LL: Tensor,
    last: Tensor,
) -> tuple[Tensor, list[Fast]]:
    """A chunk is read where its anchor is at hand: stacking the anchors would cost more than larger products gain."""
    outs = []
    chunks = (t.unbind(0) for t in (q_NPLD, k_NPLD, target.shift_LD, c_NPL1))
    for q_PLD, k_PLD, shift_PLD, c_PL1 in zip(*chunks, strict=True):
        rows = scaled(inner.pulls(fast, k_PLD, target._replace(shift_LD=shift_PLD)), c_PL1)
        outs.append(plain_normalize(inner.read(fast, q_PLD, rows, seen_LL), target.eps)[0])
        fast = [fold(layer, r, last) for layer, r in zip(fast, rows, strict=True)]
    return torch.stack(outs), fast


@functools.cache
def _compiled(device: str) -> Callable[..., Any]:
    """On a CPU with calls from C++: there are some 60 a segment, of a few microseconds each."""
    return torch.compile(_segment, dynamic=False, options={"cpp_wrapper": True} if device == "cpu" else None)


def compiled_chunks(
    inner: type[Inner],
    fast: list[Fast],
    q_NPLD: Tensor,
    k_NPLD: Tensor,
    c_NPL1: Tensor,
    target: Target,
    seen_LL: Tensor,
    last: Tensor,
) -> tuple[Tensor, list[Fast]]:
    """:func:`fastweights.layers.ttt_inner.whole_chunks`, compiled, its ``z`` normalised over D."""
    outs, compiled = [], _compiled(q_NPLD.device.type)
    pieces = zip(*(t.split(CHUNKS) for t in (q_NPLD, k_NPLD, c_NPL1, target.shift_LD)), strict=True)
    for q, k, c, shift in pieces:
        run = compiled if len(q) == CHUNKS else _segment
        xhat_NPLD, fast = run(inner, fast, q, k, c, target._replace(shift_LD=shift), seen_LL, last)
        outs.append(xhat_NPLD)
    return torch.cat(outs), fast
