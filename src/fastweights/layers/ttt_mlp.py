"""TTT-MLP's inner loop over whole chunks, the loop's backward by hand; the reading of all chunks is autograd's.

In chunk i with anchors ``W1, b1, W2, b2``, inner model ``f(x) = gelu(x W1 + b1) W2 + b2`` and rates c:

    z = k W1 + b1,  h = gelu(z),  u2 = pull(h W2 + b2),  v = u2 W2^T,  u1 = v gelu'(z)
    W1' = W1 - last k^T (c u1),   W2' = W2 - last h^T (c u2),   the biases by the sums of the rows

Legend: N chunks, P sequences times heads, L tokens of a chunk, D width of a head, F inner width.
Slow twin: ``naive_ttt.primal``.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from fastweights.layers.norm import normalize, normalize_backward
from fastweights.layers.ttt_inner import MLP, Fast, Rows, Target, apply, fold, scaled
from fastweights.layers.ttt_linear import pull_of_inputs, row_maps

_A, _B = math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi)


def dual(
    fast: list[Fast], q_NPLD: Tensor, k_NPLD: Tensor, c_NPL1: Tensor, target: Target, seen_LL: Tensor, last: Tensor
) -> tuple[Tensor, list[Fast]]:
    """:func:`fastweights.layers.ttt_inner.whole_chunks` for :class:`MLP`, its ``z`` normalised over D.

    Once differentiable; forward and backward together take three quarters of the time of autograd's.
    """
    given = [k_NPLD, c_NPL1, target.shift_LD, target.scale_1D, last, *fast[0], *fast[1]]
    if not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (q_NPLD, seen_LL, *given))):
        return _only_forward(fast, q_NPLD, k_NPLD, c_NPL1, target, seen_LL, last)
    w1, w2, b1, b2, u1, h, u2, *after = _Loop.apply(*given, target.eps)  # type: ignore[misc]
    biased = fast[0].b_1F is not None
    anchors = [Fast(w1, b1 if biased else None), Fast(w2, b2 if biased else None)]
    z_NPLD = MLP.read(anchors, q_NPLD, [Rows(k_NPLD, u1), Rows(h, u2)], seen_LL)
    ends = [Fast(after[0], after[2] if biased else None), Fast(after[1], after[3] if biased else None)]
    return normalize(z_NPLD, target.eps)[0], ends


def _only_forward(
    fast: list[Fast], q_NPLD: Tensor, k_NPLD: Tensor, c_NPL1: Tensor, target: Target, seen_LL: Tensor, last: Tensor
) -> tuple[Tensor, list[Fast]]:
    """Each chunk is read while its W is at hand, and no anchor is kept."""
    zs = []
    for q, k, shift, c in zip(*(t.unbind(0) for t in (q_NPLD, k_NPLD, target.shift_LD, c_NPL1)), strict=True):
        rows = scaled(MLP.pulls(fast, k, target._replace(shift_LD=shift)), c)
        zs.append(MLP.read(fast, q, rows, seen_LL))
        fast = [fold(layer, r, last) for layer, r in zip(fast, rows, strict=True)]
    return normalize(torch.stack(zs), target.eps)[0], fast


class _Loop(torch.autograd.Function):
    """Every chunk's anchors and rows, and the weights after the last; a bias that is not there is an empty tensor."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, ...]:
        k_NPLD, c_NPL1, shift_NPLD, scale_P1D, last, w1, b1, w2, b2, eps = args
        fast, anchors, kept = [Fast(w1, b1), Fast(w2, b2)], [], []
        for k, shift, c in zip(*(t.unbind(0) for t in (k_NPLD, shift_NPLD, c_NPL1)), strict=True):
            anchors.append(fast)
            z = apply(k, fast[0])
            h = F.gelu(z, approximate="tanh")
            y = apply(h, fast[1])
            x, mean, rstd = normalize(y, eps)
            pull = normalize_backward(shift + x if scale_P1D is None else shift + x * scale_P1D, y, mean, rstd)
            v = pull @ fast[1].w_DF.mT
            rows = [Rows(k, _through_gelu(v, z) * c), Rows(h, pull * c)]
            kept.append((z, h, v, pull, x, rstd, rows[0].u_LF, rows[1].u_LF))
            fast = [fold(layer, r, last) for layer, r in zip(fast, rows, strict=True)]
        z, h, v, pull, x, rstd, u1, u2 = (torch.stack(t) for t in zip(*kept, strict=True))
        w1s, w2s = (torch.stack([a[i].w_DF for a in anchors]) for i in (0, 1))
        none = w1.new_empty(0)
        b1s, b2s = (none if b is None else torch.stack([a[i].b_1F for a in anchors]) for i, b in enumerate((b1, b2)))
        ctx.save_for_backward(*args[:5], w1s, w2s, z, h, v, pull, x, rstd, u1, u2)
        ctx.biased = b1 is not None
        ends = (fast[0].w_DF, fast[1].w_DF, *(none.clone() if f.b_1F is None else f.b_1F for f in fast))
        return w1s, w2s, b1s, b2s if b2 is not None else none.clone(), u1, h, u2, *ends

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        with torch.autocast(grads[0].device.type, enabled=False):
            return (*_backward(ctx.saved_tensors, grads, biased=ctx.biased, last_too=ctx.needs_input_grad[4]), None)


def _backward(
    saved: tuple[Tensor, ...], grads: tuple[Tensor, ...], *, biased: bool, last_too: bool
) -> list[Tensor | None]:
    """Gradients of what :class:`_Loop` takes, in its order."""
    k_NPLD, c_NPL1, shift_NPLD, scale_P1D, last, w1s, w2s, zs, hs, vs, pulls, xs, rstds, u1s, u2s = saved
    dw1s, dw2s, db1s, db2s, du1s, dhs, du2s, dw1, dw2, db1, db2 = grads
    dots, outs, maps = row_maps(shift_NPLD, scale_P1D, xs, rstds, pulls)
    dw1, dw2, dlast = dw1.clone(), dw2.clone(), last.new_zeros(())
    dks, dus, dcs = [], [], []
    for i in range(len(zs) - 1, -1, -1):
        k, c, z, h, v, u1, u2 = k_NPLD[i], c_NPL1[i], zs[i], hs[i], vs[i], u1s[i], u2s[i]
        step1, step2 = k @ dw1, h @ dw2
        if biased:
            step1, step2 = step1 + db1, step2 + db2
        if last_too:
            dlast = dlast - (u1 * step1).sum() - (u2 * step2).sum()
        g1, g2 = torch.addcmul(du1s[i], step1, last, value=-1), torch.addcmul(du2s[i], step2, last, value=-1)
        raw1 = _through_gelu(v, z)
        dcs.append((g1 * raw1).sum(-1, keepdim=True) + (g2 * pulls[i]).sum(-1, keepdim=True))
        dk, dh = (u1 @ dw1.mT) * -last, (u2 @ dw2.mT) * -last
        g1 = g1 * c
        dv = _through_gelu(g1, z)
        du = torch.baddbmm(g2 * c, dv, w2s[i])
        du = du - du.mean(-1, keepdim=True)
        m_R = (dots[:, i] * du).sum(-1, keepdim=True)
        dy = maps[i] * du + (m_R * outs[:, i]).sum(0)
        dh = torch.baddbmm(dh + dhs[i], dy, w2s[i].mT)
        dz = _through_gelu(dh, z).addcmul_(g1, _bend(z, v))
        dw1 = (dw1 + dw1s[i]).baddbmm_(k.mT, dz)
        dw2 = (dw2 + dw2s[i]).baddbmm_(dv.mT, pulls[i]).baddbmm_(h.mT, dy)
        if biased:
            db1, db2 = db1 + db1s[i] + dz.sum(-2, keepdim=True), db2 + db2s[i] + dy.sum(-2, keepdim=True)
        dks.append(torch.baddbmm(dk, dz, w1s[i].mT))
        dus.append(du)
    dk_NPLD, dc_NPL1, du_NPLD = (torch.stack(t[::-1]) for t in (dks, dcs, dus))
    dshift, dscale = pull_of_inputs(scale_P1D, xs, rstds, du_NPLD, dots)
    biases = (db1, db2) if biased else (None, None)
    return [dk_NPLD, dc_NPL1, dshift, dscale, dlast if last_too else None, dw1, biases[0], dw2, biases[1]]


def _through_gelu(g: Tensor, z: Tensor) -> Tensor:
    """``g gelu'(z)``."""
    return torch.ops.aten.gelu_backward(g, z, approximate="tanh")


def _bend(z: Tensor, v: Tensor) -> Tensor:
    """``v gelu''(z)``, of the tanh form."""
    square = z * z
    t = (_B * square).add_(_A).mul_(z).tanh_()
    slope = square.mul_(3 * _B)  # of tanh's argument, less A
    bend = (slope + _A).square_().mul_(t).mul_(z).neg_()
    bend.add_(slope, alpha=2).add_(_A)
    return bend.mul_(t.square_().neg_().add_(1)).mul_(v)
