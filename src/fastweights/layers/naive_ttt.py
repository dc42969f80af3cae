"""The slow, obvious twins of TTT's inner loops: one token at a time, batched over sequences and heads only.

Legend: P sequences times heads, T time, D width of a head, L tokens of a chunk.
"""

import torch
from torch import Tensor

from fastweights.layers.norm import plain_l2_pull
from fastweights.layers.ttt_inner import Fast, Inner, Linear, Rows, Target, apply, fold, gelu_slope, scaled


def primal(
    inner: type[Inner],
    fast: list[Fast],
    q_PTD: Tensor,
    k_PTD: Tensor,
    c_PT1: Tensor,
    target: Target,
    row_L: Tensor | None,
    chunk: int,
    *,
    strict: bool,
) -> tuple[Tensor, list[Fast]]:
    """Anchored gradient descent by tokens: ``(z_PTD, fast)``; ``row_L`` None stands for ones.

    Twin of the dual form. Token i steps down the gradient at the first weights of its chunk, and reads at ``q_i`` all
    steps so far, times ``row_i``. A partial last chunk returns the weights after its last token.
    """
    anchor, now, steps, outs = fast, fast, fast, []
    for t, (q, k, c, shift) in enumerate(_tokens(q_PTD, k_PTD, c_PT1, target.shift_LD)):
        if t % chunk == 0:
            anchor = steps = now
        row = None if row_L is None else row_L[t % chunk]
        rows = scaled(_pulls(inner, anchor, k, shift, target), c)
        if strict:
            outs.append(_output(_weighted(anchor, steps, row), q))
        steps = [fold(layer, r) for layer, r in zip(steps, rows, strict=True)]
        now = _weighted(anchor, steps, row)
        if not strict:
            outs.append(_output(now, q))
    return torch.cat(outs, dim=1), now


def online(
    inner: type[Inner], fast: list[Fast], q_PTD: Tensor, k_PTD: Tensor, c_PT1: Tensor, target: Target, *, strict: bool
) -> tuple[Tensor, list[Fast]]:
    """Online gradient descent: every token steps at the weights that the token before it left."""
    outs = []
    for q, k, c, shift in _tokens(q_PTD, k_PTD, c_PT1, target.shift_LD):
        rows = scaled(_pulls(inner, fast, k, shift, target), c)
        after = [fold(layer, r) for layer, r in zip(fast, rows, strict=True)]
        outs.append(_output(fast if strict else after, q))
        fast = after
    return torch.cat(outs, dim=1), fast


def _tokens(*stretches_PTD: Tensor) -> list[tuple[Tensor, ...]]:
    """Each token's slices ``[P, 1, D]``."""
    return list(zip(*(x.split(1, dim=1) for x in stretches_PTD), strict=True))


def _weighted(anchor: list[Fast], steps: list[Fast], row: Tensor | None) -> list[Fast]:
    """``anchor + row (steps - anchor)``."""
    if row is None:
        return steps
    return [
        Fast(
            torch.lerp(a.w_DF, s.w_DF, row),
            None if a.b_1F is None or s.b_1F is None else torch.lerp(a.b_1F, s.b_1F, row),
        )
        for a, s in zip(anchor, steps, strict=True)
    ]


def _output(fast: list[Fast], q_P1D: Tensor) -> Tensor:
    if len(fast) == 1:
        return apply(q_P1D, fast[0])
    return apply(torch.nn.functional.gelu(apply(q_P1D, fast[0]), approximate="tanh"), fast[1])


def _pulls(inner: type[Inner], fast: list[Fast], k_P1D: Tensor, shift_P1D: Tensor, target: Target) -> list[Rows]:
    """Twin of :meth:`Inner.pulls`, the normalisation and its backward spelled out."""
    z = apply(k_P1D, fast[0])
    if inner is Linear:
        return [Rows(k_P1D, plain_l2_pull(z, target.scale_1D, shift_P1D, target.eps))]
    h = torch.nn.functional.gelu(z, approximate="tanh")
    u = plain_l2_pull(apply(h, fast[1]), target.scale_1D, shift_P1D, target.eps)
    return [Rows(k_P1D, (u @ fast[1].w_DF.mT) * gelu_slope(z)), Rows(h, u)]
