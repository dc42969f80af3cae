"""TTT-Linear's inner loop over whole chunks: the dual form of anchored gradient descent, with its backward by hand.

In chunk i with anchor ``W, b`` (Sun et al., 2024, "Learning to (Learn at Test Time)", eq. 7 and 8):

    u = backward of |LN(k W + b) - target|² / 2            every token at the anchor
    z = q W + b + A u,   A = -(r c) ⊙ mask ⊙ (q k^T + 1)    what a token reads: only its predecessors' steps
    W' = W + s^T u,      s = -r_last c k                    all steps of the chunk

Only ``k W``, ``u`` and ``W'`` depend on the chunk before, so only they stand in the loop; ``z`` is read afterwards in
one batched product. ``1`` and ``b`` are there where the inner model has a bias. On one CPU thread the plain inner
model takes the loop of :mod:`~fastweights.layers.ttt_linear_cpu`.

Legend: N chunks, P sequences times heads, L tokens of a chunk, D width of a head. Slow twin: ``naive_ttt.primal``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastweights.layers import ttt_linear_cpu
from fastweights.layers.norm import normalize, normalize_backward
from fastweights.layers.ttt_inner import Fast, Target
from fastweights.layers.ttt_linear_cpu import Tokens


class Loop(NamedTuple):
    """What the loop reads; see the top of the file. ``step`` is s, ``step_b`` its counterpart for the bias."""

    q_NPLD: Tensor
    k_NPLD: Tensor
    shift_NPLD: Tensor
    a_NPLL: Tensor
    step_NPLD: Tensor
    step_b_NPL1: Tensor | None
    scale_P1D: Tensor | None


def dual(
    fast: Fast, q_NPLD: Tensor, k_NPLD: Tensor, c_NPL1: Tensor, target: Target, seen_LL: Tensor, last: Tensor
) -> tuple[Tensor, Fast]:
    """:func:`fastweights.layers.ttt_inner.whole_chunks` for :class:`Linear`, its ``z`` normalised over D.

    Once differentiable; forward and backward together take about half the time of autograd's. On one CPU thread
    without bias and gain it is :mod:`~fastweights.layers.ttt_linear_cpu`'s loop.
    """
    tokens = Tokens(q_NPLD, k_NPLD, target.shift_LD, c_NPL1)
    plain = fast.b_1F is None and target.scale_1D is None and not (seen_LL.requires_grad or last.requires_grad)
    if plain and ttt_linear_cpu.takes(tokens) and float(last) == 1:
        xhat_NPLD, w_PDD = ttt_linear_cpu.dual(fast.w_DF, tokens, seen_LL, target.eps)
        return xhat_NPLD, Fast(w_PDD, None)
    q_NPLD, k_NPLD, c_NPL1 = (t.contiguous() for t in (q_NPLD, k_NPLD, c_NPL1))
    scores_NPLL = q_NPLD @ k_NPLD.mT
    if fast.b_1F is not None:
        scores_NPLL = scores_NPLL + 1
    step_b_NPL1 = c_NPL1 * -last
    loop = Loop(
        q_NPLD,
        k_NPLD,
        target.shift_LD,
        scores_NPLL * seen_LL * c_NPL1.mT,
        k_NPLD * step_b_NPL1,
        None if fast.b_1F is None else step_b_NPL1,
        target.scale_1D,
    )
    if not (torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (*loop, *fast))):
        done, (w_PDD, b_P1D) = _forward(loop, fast, target.eps, keep=False)
        return done[0], Fast(w_PDD, b_P1D)
    xhat_NPLD, w_PDD, b_P1D = _Dual.apply(*loop, *fast, target.eps)  # type: ignore[misc]
    return xhat_NPLD, Fast(w_PDD, None if fast.b_1F is None else b_P1D)


class _Kept(NamedTuple):
    """What the backward needs of the forward; ``ws``: the anchor of every chunk."""

    xhat_NPLD: Tensor
    zq_NPLD: Tensor
    mean_q: Tensor
    rstd_q: Tensor
    ws_NPDD: Tensor
    x_NPLD: Tensor
    rstd_NPL1: Tensor
    u_NPLD: Tensor


def _forward(loop: Loop, fast: Fast, eps: float, *, keep: bool) -> tuple[_Kept | tuple[Tensor], Fast]:
    """Everything about a chunk is computed while its W is in the cache. Without ``keep`` W changes in place."""
    N = loop.k_NPLD.shape[0]
    w_PDD, b_P1D = fast.w_DF, fast.b_1F
    zq_NPLD, z_PLD = torch.empty_like(loop.q_NPLD), torch.empty_like(loop.q_NPLD[0])
    ws_NPDD = w_PDD.new_empty(N, *w_PDD.shape) if keep else w_PDD
    ws = ws_NPDD.unbind(0) if keep else ()
    w_PDD = w_PDD.clone()
    xs, rstds, us = [], [], []
    steps_b = () if loop.step_b_NPL1 is None else loop.step_b_NPL1.mT.unbind(0)
    inputs = (loop.k_NPLD, loop.q_NPLD, loop.shift_NPLD, loop.a_NPLL, loop.step_NPLD.mT, zq_NPLD)
    for i, (k_PLD, q_PLD, shift_PLD, a_PLL, step_PDL, zq_PLD) in enumerate(
        zip(*(t.unbind(0) for t in inputs), strict=True)
    ):
        if keep:
            ws[i].copy_(w_PDD)
        torch.bmm(k_PLD, w_PDD, out=z_PLD)
        if b_P1D is not None:
            z_PLD.add_(b_P1D)
        x_PLD, mean, rstd = normalize(z_PLD, eps)
        g_PLD = shift_PLD + x_PLD if loop.scale_P1D is None else torch.addcmul(shift_PLD, x_PLD, loop.scale_P1D)
        u_PLD = normalize_backward(g_PLD, z_PLD, mean, rstd)
        torch.bmm(a_PLL, u_PLD, out=zq_PLD).baddbmm_(q_PLD, w_PDD)
        w_PDD.baddbmm_(step_PDL, u_PLD)
        if b_P1D is not None:
            zq_PLD.add_(b_P1D)
            b_P1D = torch.baddbmm(b_P1D, steps_b[i], u_PLD)
        if keep:
            xs.append(x_PLD)
            rstds.append(rstd)
            us.append(u_PLD)
    out = normalize(zq_NPLD, eps)
    after = Fast(w_PDD, b_P1D)
    if not keep:
        return (out[0],), after
    return _Kept(out[0], zq_NPLD, *out[1:], ws_NPDD, torch.stack(xs), torch.stack(rstds), torch.stack(us)), after


class _Dual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor, Tensor]:
        loop, (w_PDD, b_P1D, eps) = Loop(*args[:7]), args[7:]
        kept, after = _forward(loop, Fast(w_PDD, b_P1D), eps, keep=True)
        ctx.save_for_backward(*loop, *kept[1:])
        return kept[0], after.w_DF, w_PDD.new_empty(0) if after.b_1F is None else after.b_1F

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        saved = ctx.saved_tensors  # once: checkpoints recompute at the first look
        loop, kept = Loop(*saved[:7]), saved[7:]
        with torch.autocast(kept[0].device.type, enabled=False):
            return (*_backward(loop, kept, grads), None)


def _backward(loop: Loop, kept: tuple[Tensor, ...], grads: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Gradients of :class:`Loop`'s fields, W and b.

    ``u`` has mean 0 over D, and so has the gradient of a normalised ``z``: only the centred part of W's gradient enters
    the loop, the mean passes straight to W's start. Per row, ``dz`` is ``c du`` plus products of ``du`` with two or
    three vectors known beforehand (``xhat``; ``u + rstd scale xhat``; ``scale``), each times another known vector.
    """
    zq_NPLD, mean_q, rstd_q, ws_NPDD, x_NPLD, r_NPL1, u_NPLD = kept
    dxhat_NPLD, dw_PDD, db_P1D = grads
    N, _, L, _ = loop.k_NPLD.shape
    dzq_NPLD = normalize_backward(dxhat_NPLD.contiguous(), zq_NPLD, mean_q, rstd_q)
    dots, outs, c = row_maps(loop.shift_NPLD, loop.scale_P1D, x_NPLD, r_NPL1, u_NPLD)
    du_NPLD = loop.a_NPLL.mT @ dzq_NPLD
    dz_NPSD = torch.cat([torch.empty_like(dzq_NPLD), dzq_NPLD], dim=2)  # dz of k above dz of q, S = 2 L
    x_NPSD = torch.cat([loop.k_NPLD, loop.q_NPLD], dim=2)
    dx_NPSD, dstep_NPLD = torch.empty_like(x_NPSD), torch.empty_like(u_NPLD)
    mean_PD1 = dw_PDD.mean(-1, keepdim=True)
    dw_PDD = dw_PDD - mean_PD1
    dus, dzs, dzks = du_NPLD.unbind(0), dz_NPSD.unbind(0), dz_NPSD[:, :, :L].unbind(0)
    xs, steps, us, ws = x_NPSD.mT.unbind(0), loop.step_NPLD.unbind(0), u_NPLD.unbind(0), ws_NPDD.mT.unbind(0)
    dxs, dsteps = dx_NPSD.unbind(0), dstep_NPLD.unbind(0)
    rows = list(zip(c.unbind(0), dots.unbind(1), [o.unbind(0) for o in outs.unbind(1)], strict=True))
    steps_b = [] if loop.step_b_NPL1 is None else loop.step_b_NPL1.unbind(0)
    mean_b_P11 = db_P1D.mean(-1, keepdim=True) if steps_b else db_P1D
    dbs = [db_P1D - mean_b_P11]
    buffer = torch.empty_like(dots[:, 0])
    for i in range(N - 1, -1, -1):
        du_PLD = dus[i]
        du_PLD.baddbmm_(steps[i], dw_PDD)
        torch.bmm(us[i], dw_PDD.mT, out=dsteps[i])
        if steps_b:
            du_PLD.baddbmm_(steps_b[i], dbs[-1])
        c_PL, dots_RPLD, outs_R = rows[i]
        m_R = torch.mul(dots_RPLD, du_PLD, out=buffer).sum(-1, keepdim=True).unbind(0)
        dz_PLD = torch.mul(c_PL, du_PLD, out=dzks[i])
        for m_PL1, out_PLD in zip(m_R, outs_R, strict=True):
            dz_PLD.addcmul_(m_PL1, out_PLD)
        dw_PDD.baddbmm_(xs[i], dzs[i])
        torch.bmm(dzs[i], ws[i], out=dxs[i])
        if steps_b:
            dbs.append(dbs[-1] + dzs[i].sum(1, keepdim=True))
    dg_NPLD, dscale = pull_of_inputs(loop.scale_P1D, x_NPLD, r_NPL1, du_NPLD, dots)
    grads_of: list[Tensor | None] = [
        dx_NPSD[:, :, L:],
        dx_NPSD[:, :, :L],
        dg_NPLD,
        dzq_NPLD @ u_NPLD.mT,
        dstep_NPLD,
        None,
        dscale,
        dw_PDD + mean_PD1,
        None,
    ]
    if steps_b:
        dbs.reverse()
        grads_of[5] = u_NPLD @ torch.stack(dbs[1:]).mT
        grads_of[8] = dbs[0] + mean_b_P11
    return grads_of


def row_maps(
    shift_NPLD: Tensor, scale: Tensor | None, x_NPLD: Tensor, r_NPL1: Tensor, u_NPLD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of :func:`~fastweights.layers.norm.l2_pull`'s backward: ``(dots_RNPLD, outs_RNPLD, c)``.

    ``dz = c du + sum_R (dots · du) outs`` for a centred ``du``, where ``x`` is the normalised z, ``r`` what scaled it
    and ``u`` the pull.
    """
    D = x_NPLD.shape[-1]
    r2_NPL1 = r_NPL1.square()
    sx_NPLD = x_NPLD if scale is None else x_NPLD * scale
    g_NPLD = shift_NPLD + sx_NPLD
    m_NPL1 = (g_NPLD * x_NPLD).mean(-1, keepdim=True)
    mxx_NPL1 = (sx_NPLD * x_NPLD).mean(-1, keepdim=True)
    dots = torch.empty(2 if scale is None else 3, *x_NPLD.shape, dtype=x_NPLD.dtype, device=x_NPLD.device)
    torch.mul(x_NPLD, 1 / D, out=dots[0])
    torch.addcmul(u_NPLD, r_NPL1, sx_NPLD, out=dots[1]).mul_(1 / D)
    outs = torch.empty_like(dots)
    if scale is None:
        c = r2_NPL1 * (1 - m_NPL1)
        torch.mul(x_NPLD, r2_NPL1 * (m_NPL1 - 1 + mxx_NPL1), out=outs[0])
    else:
        c = r2_NPL1 * (scale - m_NPL1)
        inner = (m_NPL1 + mxx_NPL1) * x_NPLD - sx_NPLD + sx_NPLD.mean(-1, keepdim=True)
        torch.mul(inner, r2_NPL1, out=outs[0])
        dots[2] = scale / D
        outs[2] = -r2_NPL1
    outs[0].addcmul_(r_NPL1, u_NPLD, value=-1)
    torch.mul(x_NPLD, r_NPL1, out=outs[1]).neg_()
    return dots, outs, c


def pull_of_inputs(
    scale_P1D: Tensor | None, x_NPLD: Tensor, r_NPL1: Tensor, du_NPLD: Tensor, dots: Tensor
) -> tuple[Tensor, Tensor | None]:
    """The other gradients of that backward: ``shift``'s and ``scale``'s."""
    m_NPL1 = (dots[0] * du_NPLD).sum(-1, keepdim=True)
    dg_NPLD = torch.addcmul(du_NPLD, x_NPLD, m_NPL1, value=-1).mul_(r_NPL1)
    if scale_P1D is None:
        return dg_NPLD, None
    return dg_NPLD, (dg_NPLD * x_NPLD).sum((0, 2)).unsqueeze(1)
