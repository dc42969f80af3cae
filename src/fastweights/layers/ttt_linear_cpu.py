"""The loop of :mod:`~fastweights.layers.ttt_linear` on one CPU thread, for an inner model without bias and gain.

There a chunk's arithmetic takes no longer than the calls that ask for it and the memory that they pass over, so this
says the same with less of both. A normalised ``z`` does not see its mean, so W and the targets are centred once, and
every ``z`` then has mean 0 by itself. With ``R = (|z|²/D + eps)^-½``, ``p = s · z`` and the rate c, a token steps by

    u = c (R s + B z),   B = R³ (eps R - p / D)

(of the gradient's part along ``z`` only eps is left). Backward, with ``a = du · z`` and ``b = du · s``:

    dz = c B du + K a s + (K b + K' a) z,   K = -c R³ / D,   K' = K R² (3 (eps D R - p) + eps D R) / D

Numpy and torch share the memory, and each does what it does faster: a call of numpy costs half of torch's, and on an
AMD core with AVX-512 its small batched products run at 100 GFLOP/s against 60 to 80; with a transposed second factor
torch's are faster. Of every second chunk W is kept, the others are stepped to again, by the same operation. Heads are
taken in groups whose W stay in the cache.

Legend: N chunks, P sequences times heads, L tokens of a chunk, D width of a head, S = 2 L: queries above keys.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fastweights.layers.norm import normalize_backward

_GROUP_BYTES = 1 << 20  # of W; a second-level cache


class Tokens(NamedTuple):
    """What a token brings: query, key, shift of the target, rate."""

    q_NPLD: Tensor
    k_NPLD: Tensor
    shift_NPLD: Tensor
    c_NPL1: Tensor


def takes(tokens: Tokens) -> bool:
    """Whether this loop is the one for such tokens; with several threads torch's batched products use them all."""
    return (
        all(t.device.type == "cpu" and t.dtype == tokens.q_NPLD.dtype for t in tokens)
        and tokens.q_NPLD.dtype in (torch.float32, torch.float64)
        and torch.get_num_threads() == 1
        and not torch.compiler.is_compiling()
    )


def dual(w_PDD: Tensor, tokens: Tokens, seen_LL: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """``(xhat_NPLD, W after)``; every step is folded once. Once differentiable, in all but ``seen``."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in (*tokens, w_PDD)):
        xhat_NPLD, after_PDD = _Dual.apply(*tokens, w_PDD, seen_LL, eps)  # type: ignore[misc]
        return xhat_NPLD, after_PDD
    return _run(w_PDD, tokens, seen_LL, eps, None)


class _Kept(NamedTuple):
    """What the backward needs of a group's forward; ``zs``: the queries' z, the keys' z, the centred shift."""

    qk_NPSD: Tensor
    zs_N3PLD: Tensor
    u_NPLD: Tensor
    ws_MPDD: Tensor
    r_NPL: Tensor
    p_NPL: Tensor
    a_NPLL: Tensor
    rstd_NPL1: Tensor


class _Dual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *args: Any) -> tuple[Tensor, Tensor]:
        kept: list[_Kept] = []
        tokens, (w_PDD, seen_LL, eps) = Tokens(*args[:4]), args[4:]
        xhat_NPLD, after_PDD = _run(w_PDD, tokens, seen_LL, eps, kept)
        ctx.eps = eps
        ctx.save_for_backward(tokens.c_NPL1, seen_LL, xhat_NPLD, *(t for group in kept for t in group))
        return xhat_NPLD, after_PDD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        dxhat_NPLD, dw_PDD = grads
        c_NPL1, seen_LL, xhat_NPLD, *flat = ctx.saved_tensors  # once: checkpoints recompute at the first look
        dq, dk, dshift = (torch.empty_like(dxhat_NPLD) for _ in range(3))
        out = Tokens(dq, dk, dshift, dxhat_NPLD.new_empty(c_NPL1.shape))
        mean_PD1 = dw_PDD.mean(-1, keepdim=True)
        e_PDD = mean_PD1 - dw_PDD
        size = len(_Kept._fields)
        for i, g in enumerate(_groups(e_PDD)):
            kept = _Kept(*flat[i * size : (i + 1) * size])
            given = (c_NPL1[:, g], xhat_NPLD[:, g], dxhat_NPLD[:, g])
            _backward(kept, e_PDD[g], seen_LL, ctx.eps, *given, Tokens(*(t[:, g] for t in out)))
        return *out, mean_PD1 - e_PDD, None, None


def _groups(w_PDD: Tensor) -> list[slice]:
    P, D, _ = w_PDD.shape
    heads = max(1, _GROUP_BYTES // (D * D * w_PDD.element_size()))
    return [slice(i, i + heads) for i in range(0, P, heads)]


def _run(w_PDD: Tensor, tokens: Tokens, seen_LL: Tensor, eps: float, kept: list[_Kept] | None) -> tuple[Tensor, Tensor]:
    """``(xhat, W after)``; fills ``kept``, a group of heads each."""
    w_PDD, tokens = w_PDD.detach(), Tokens(*(t.detach() for t in tokens))
    xhat_NPLD = torch.empty_like(tokens.q_NPLD)
    mean_PD1 = w_PDD.mean(-1, keepdim=True)
    w_PDD = w_PDD - mean_PD1
    for g in _groups(w_PDD):
        of_group = Tokens(*(t[:, g] for t in tokens))
        group = _forward(w_PDD[g], of_group, seen_LL, eps, xhat_NPLD[:, g], keep=kept is not None)
        if kept is not None:
            kept.append(group)
    return xhat_NPLD, w_PDD.add_(mean_PD1)


def _forward(w_PDD: Tensor, tokens: Tokens, seen_LL: Tensor, eps: float, xhat_NPLD: Tensor, *, keep: bool) -> _Kept:
    """Writes ``xhat`` and changes ``w`` in place; without ``keep`` no W is among what is kept."""
    N, P, L, D = xhat_NPLD.shape
    new, root = w_PDD.new_empty, math.sqrt(D)
    qk_NPSD = torch.cat([tokens.q_NPLD, tokens.k_NPLD], dim=2)
    zs, u, ws = new(N, 3, P, L, D), new(N, P, L, D), new(N // 2 + N % 2 if keep else 0, P, D, D)
    torch.sub(tokens.shift_NPLD, tokens.shift_NPLD.mean(-1, keepdim=True), out=zs[:, 2])
    r, zp, a = new(N, P, L), new(N, 2, P, L), new(N, P, L, L)  # zp: z with itself and with s
    qk, w = qk_NPSD.view(N, P, 2, L, D).transpose(1, 2).numpy(), w_PDD.numpy()
    kt, ws_n = qk[:, 1].swapaxes(-1, -2), ws.numpy()
    np.matmul(qk[:, 0], kt, out=a.numpy())
    a.mul_(seen_LL)
    cr_PL1, cb_PL1 = factors = new(2, P, L, 1)
    cr, cb = factors.squeeze(-1).numpy()
    square, step_PLD, step_PDD = new(P, L).numpy(), new(P, L, D).numpy(), new(P, D, D).numpy()
    c = (tokens.c_NPL1 * root).squeeze(-1).numpy()
    arrays = (qk, kt, zs.numpy(), a.numpy(), u.numpy(), r.numpy(), zp.numpy(), c)
    tensors = (u.unbind(0), zs[:, 1].unbind(0), zs[:, 2].unbind(0))
    for i, (qk_i, kt_i, zs_i, a_i, u_i, r_i, zp_i, c_i, ut, zt, st) in enumerate(zip(*arrays, *tensors, strict=True)):
        if keep and i % 2 == 0:
            ws_n[i // 2] = w
        np.matmul(qk_i, w, out=zs_i[:2])
        np.vecdot(zs_i[1:], zs_i[1], out=zp_i)
        np.add(zp_i[0], D * eps, out=square)
        np.reciprocal(square, out=square)  # R² / D
        np.sqrt(square, out=r_i)
        np.multiply(r_i, c_i, out=cr)
        np.multiply(r_i, eps * D * root, out=cb)
        np.subtract(cb, zp_i[1], out=cb)
        np.multiply(cb, square, out=cb)
        np.multiply(cb, cr, out=cb)
        torch.mul(st, cr_PL1, out=ut).addcmul_(zt, cb_PL1)
        np.matmul(a_i, u_i, out=step_PLD)
        np.add(zs_i[0], step_PLD, out=zs_i[0])
        np.matmul(kt_i, u_i, out=step_PDD)
        np.subtract(w, step_PDD, out=w)
    zq = zs[:, 0].numpy()
    rstd_NPL1 = torch.from_numpy(np.vecdot(zq, zq)).mul_(1 / D).add_(eps).rsqrt_().unsqueeze(-1)
    torch.mul(zs[:, 0], rstd_NPL1, out=xhat_NPLD)
    return _Kept(qk_NPSD, zs, u, ws, r.mul_(root), zp[:, 1], a, rstd_NPL1)


def _backward(
    kept: _Kept,
    e_PDD: Tensor,
    seen_LL: Tensor,
    eps: float,
    c_NPL1: Tensor,
    xhat_NPLD: Tensor,
    dxhat_NPLD: Tensor,
    out: Tokens,
) -> None:
    """Writes the gradients to ``out``; ``e``, less the centred gradient of W, goes from W after to W before."""
    qk_NPSD, zs, u, ws, r_NPL, p_NPL, a, rstd_NPL1 = kept
    N, P, L, D = u.shape
    new, ones = u.new_empty, torch.ones(P, N, L, 1, dtype=u.dtype)
    dzs_NPSD = new(N, P, 2 * L, D)
    g_PNLD, x_PNLD = (t.transpose(0, 1).contiguous() for t in (dxhat_NPLD, xhat_NPLD))  # as they often lie
    dzq_PNLD = normalize_backward(g_PNLD, x_PNLD, torch.zeros_like(ones), ones)
    torch.mul(dzq_PNLD.transpose(0, 1), rstd_NPL1, out=dzs_NPSD[:, :, :L])
    c_NPL, square, lead = c_NPL1.squeeze(-1), r_NPL.square(), eps * D * r_NPL
    b_NPL = square * r_NPL * (lead - p_NPL) / D
    k_NPL = c_NPL * square * r_NPL * (-1 / D)
    k2_NPL = k_NPL * square * (4 * lead - 3 * p_NPL) / D
    dots = new(N, 2, P, L)  # of du with z and with s
    s_PL1, z_PL1 = factors = new(2, P, L, 1)  # how much of s and z is in dz
    du_t, part_t, both_t, w_t = new(P, L, D), new(P, L, D), new(P, 2 * L, D), new(P, D, D)
    dq_t, dk_t, et, wt = both_t[:, :L], both_t[:, L:], e_PDD.mT, w_t.mT
    outer, du, part, w, e = (t.numpy() for t in (factors.squeeze(-1), du_t, part_t, w_t, e_PDD))
    seen, ka, da, step = (t.numpy() for t in (seen_LL, new(P, L), new(P, L, L), new(P, D, D)))
    qk, qkt, ws_n, u_n = qk_NPSD.numpy(), qk_NPSD.mT.numpy(), ws.numpy(), u.numpy()
    tokens = (dzs_NPSD, a.mT, u.mT, zs, dots, k_NPL.unsqueeze(1), k2_NPL)
    tensors = (u, zs[:, 1], zs[:, 2], dzs_NPSD, dzs_NPSD[:, :, L:], *out[:3])
    scales = ((c_NPL * b_NPL).unsqueeze(-1), (c_NPL * r_NPL).unsqueeze(-1))
    rows = list(zip(*(t.numpy() for t in tokens), *(t.unbind(0) for t in (*tensors, *scales)), strict=True))
    for i in range(N - 1, -1, -1):
        dzs_i, at, ut, zs_i, dots_i, k_i, k2_i, u_i, z_i, s_i, dzst, dzt, dq, dk, dshift, cb, cr = rows[i]
        k_PLD, dzq = qk[i, :, L:], dzs_i[:, :L]
        np.matmul(at, dzq, out=du)
        np.matmul(k_PLD, e, out=part)
        np.add(du, part, out=du)
        np.vecdot(zs_i[1:], du, out=dots_i)
        np.multiply(dots_i, k_i, out=outer)
        np.multiply(dots_i[0], k2_i, out=ka)
        np.add(outer[1], ka, out=outer[1])
        torch.mul(du_t, cb, out=dzt).addcmul_(s_i, s_PL1).addcmul_(z_i, z_PL1)
        torch.mul(du_t, cr, out=dshift).addcmul_(z_i, s_PL1)
        if i % 2:
            np.matmul(qkt[i - 1, :, :, L:], u_n[i - 1], out=step)
            np.subtract(ws_n[i // 2], step, out=w)
        torch.bmm(dzst, wt if i % 2 else ws[i // 2].mT, out=both_t)
        np.matmul(dzq, ut, out=da)
        np.multiply(da, seen, out=da)
        np.matmul(da, k_PLD, out=part)
        torch.add(dq_t, part_t, out=dq)
        np.matmul(da.swapaxes(-1, -2), qk[i, :, :L], out=part)
        torch.add(dk_t, part_t.baddbmm_(u_i, et), out=dk)
        np.matmul(qkt[i], dzs_i, out=step)
        np.subtract(e, step, out=e)
    torch.addcmul(r_NPL * dots[:, 1], b_NPL, dots[:, 0], out=out.c_NPL1.squeeze(-1))
