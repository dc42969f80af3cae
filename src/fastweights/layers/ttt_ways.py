"""The ways of ``bench ttt`` to read a text: from ``W [P, D, D]``, ``q, k, v [P, T, D]`` and rates ``c [P, T, 1]``.

Each gives ``(y [P, T, D], W after the text)``.
Legend: P sequences times heads, T tokens, D width of a head, L tokens of a chunk.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastweights.layers import naive_ttt, naive_ttt_official
from fastweights.layers.norm import l2_pull, normalize
from fastweights.layers.ttt_compiled import compiled_chunks
from fastweights.layers.ttt_inner import Fast, Linear, Target, seen, whole_chunks
from fastweights.layers.ttt_linear import dual as handwritten_dual

Way = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int], tuple[Tensor, Tensor]]
EPS = 1e-6


def primal(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The twin that the tests compare with, a token at a time, and as fast as its spelled out operations are."""
    z, (after,) = naive_ttt.primal(Linear, [Fast(w, None)], q, k, c, Target(k - v, None, EPS), None, chunk, strict=True)
    return q + normalize(z, EPS)[0], after.w_DF


def primal_fused(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The same with what else a loop over tokens can have: torch's fused LayerNorm, in place without gradients."""
    in_place, anchor, now, zs = not torch.is_grad_enabled(), w, w, []
    tokens = zip(*(x.split(1, dim=1) for x in (q, k, k - v, -c)), strict=True)
    for t, (q_P1D, k_P1D, shift_P1D, rate_P11) in enumerate(tokens):
        if t % chunk == 0:
            anchor, now = now, now.clone() if in_place else now
        u_P1D = l2_pull(torch.bmm(k_P1D, anchor), None, shift_P1D, EPS) * rate_P11
        zs.append(torch.bmm(q_P1D, now))
        now = now.baddbmm_(k_P1D.mT, u_P1D) if in_place else torch.baddbmm(now, k_P1D.mT, u_P1D)
    return q + normalize(torch.cat(zs, dim=1), EPS)[0], now


def dual(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """A chunk at a time, autograd's backward."""
    return _chunked(_autograd, w, (q, k, v, c), chunk)


def handwritten(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """A chunk at a time, its own backward."""
    return _chunked(handwritten_dual, w, (q, k, v, c), chunk)


def compiled(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Through torch.compile."""
    return _chunked(_compiled, w, (q, k, v, c), chunk)


def official(w: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """The official variant's dual form, plainly (:mod:`fastweights.layers.naive_ttt_official`).

    It computes something else (a bias, a gain, a token's own step), so it has no parity here; its tests have.
    """
    P, _, D = q.shape
    q, k, v, c = (x.unflatten(1, (-1, chunk)).transpose(0, 1).unsqueeze(1) for x in (q, k, v, c))
    norm = naive_ttt_official.Norm(q.new_ones(P, 1, D), q.new_zeros(P, 1, D))
    row_L1 = torch.arange(1, chunk + 1, device=q.device, dtype=q.dtype).reciprocal().unsqueeze(1)
    y, w, _ = naive_ttt_official.dual(w.unsqueeze(0), w.new_zeros(1, P, 1, D), q, k, v, row_L1 * c.mT, norm)
    return y.squeeze(1).transpose(0, 1).flatten(1, 2), w.squeeze(0)


def _autograd(fast: Fast, q: Tensor, k: Tensor, c: Tensor, target: Target, seen_LL: Tensor, last: Tensor) -> Any:
    q, k, c = (x.contiguous() for x in (q, k, c))
    z, (after,) = whole_chunks(Linear, [fast], q, k, c, target, seen_LL, last)
    return normalize(z, EPS)[0], after


def _compiled(fast: Fast, q: Tensor, k: Tensor, c: Tensor, target: Target, seen_LL: Tensor, last: Tensor) -> Any:
    q, k, c = (x.contiguous() for x in (q, k, c))
    target = target._replace(shift_LD=target.shift_LD.contiguous())
    xhat, (after,) = compiled_chunks(Linear, [fast], q, k, c, target, seen_LL, last)
    return xhat, after


def _chunked(run: Callable[..., Any], w: Tensor, tokens: tuple[Tensor, ...], chunk: int) -> tuple[Tensor, Tensor]:
    q, k, v, c = (x.unflatten(1, (-1, chunk)).transpose(0, 1) for x in tokens)
    row_L = torch.ones(chunk, device=w.device)
    xhat, after = run(Fast(w, None), q, k, c, Target(k - v, None, EPS), seen(row_L, strict=True), row_L[-1])
    return (q + xhat).transpose(0, 1).flatten(1, 2), after.w_DF


WAYS: dict[str, Way] = {
    "primal": primal,
    "primal_fused": primal_fused,
    "official": official,
    "dual": dual,
    "handwritten": handwritten,
    "compiled": compiled,
}
