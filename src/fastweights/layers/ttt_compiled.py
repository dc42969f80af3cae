"""The loop over chunks through ``torch.compile``: segments of a few chunks become one graph each. Never required.

The first call compiles (10 to 40 s on a CPU); where chunks are left over, they run uncompiled.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastweights.layers.norm import normalize
from fastweights.layers.ttt_inner import Fast, Inner, Target, whole_chunks

CHUNKS = 8
"""Chunks that one graph unrolls."""


def _segment(
    inner: type[Inner], fast: list[Fast], q: Tensor, k: Tensor, c: Tensor, target: Target, *row: Tensor
) -> Any:
    z_NPLD, fast = whole_chunks(inner, fast, q, k, c, target, *row)
    return normalize(z_NPLD, target.eps)[0], fast


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(_segment, dynamic=False)


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
    outs = []
    pieces = zip(*(t.split(CHUNKS) for t in (q_NPLD, k_NPLD, c_NPL1, target.shift_LD)), strict=True)
    for q, k, c, shift in pieces:
        run = _compiled() if len(q) == CHUNKS else _segment
        xhat_NPLD, fast = run(inner, fast, q, k, c, target._replace(shift_LD=shift), seen_LL, last)
        outs.append(xhat_NPLD)
    return torch.cat(outs), fast
