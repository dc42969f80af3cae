"""Causal attention over a window, twice differentiable, with time and memory linear in the length.

Token i attends to itself and the ``window - 1`` tokens before it. Queries go in blocks; each block meets only the
blocks of keys that its window reaches (a band). Forward and both backwards keep no probabilities: they compute them
again, a few blocks at a time. torch's own fused kernel has no second derivative on a CPU, and a T x T softmax has a
large one.

Legend: B sequences, T time, C channels of all heads, H heads, N blocks, L queries of a block, K keys that they meet, D
width of a head. Slow twin: :func:`fastweights.layers.naive_attention.attention`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.layers.linear import Linear
from fastweights.layers.norm import RMSNorm
from fastweights.layers.rope import rotate, rotations

Carry = dict[str, Tensor]
BLOCK = 64
_SCORES = 1 << 18  # held at a time on a CPU: 1 MB in fp32, so that the passes over them stay in a core's cache
_SCORES_DEVICE = 1 << 25  # elsewhere: 128 MB


def attention(
    q_BHTD: Tensor,
    k_BHSD: Tensor,
    v_BHSD: Tensor,
    window: int,
    *,
    hidden_B: Tensor | None = None,
    block: int | None = None,
) -> Tensor:
    """``softmax(q k / sqrt(D)) v`` over each token's window: ``[B, H, T, D]``, fp32 or fp64, differentiable twice.

    Keys and values may begin with up to ``window - 1`` past tokens (S = past + T), of which the first ``hidden_B`` of a
    sequence do not exist. ``block``: queries that are taken together (default 64, at most the window); it changes speed
    and memory, not the result. A third derivative exists, too, but is not lean. Raises ValueError where the sizes do
    not fit.
    """
    T, past = q_BHTD.shape[2], k_BHSD.shape[2] - q_BHTD.shape[2]
    if window < 1 or T < 1 or not 0 <= past < window:
        raise ValueError(f"{T} queries, {k_BHSD.shape[2]} keys, window {window}: give from 0 to window - 1 past keys")
    L = min(block or min(BLOCK, window), T)
    N = -(-T // L)
    reach = min(-(-(window - 1) // L), N - 1 + -(-past // L))  # blocks before its own that a block of queries meets
    seen = _seen(window, T, past, L, N, reach, hidden_B, q_BHTD.device)
    q = F.pad(q_BHTD, (0, 0, 0, N * L - T)).unflatten(2, (N, L)) * q_BHTD.shape[-1] ** -0.5
    k, v = (_bands(x, reach * L - past, N * L - T, L, reach) for x in (k_BHSD, v_BHSD))
    return _Attention.apply(q, k, v, seen).flatten(2, 3)[:, :, :T]  # pyright: ignore[reportFunctionMemberAccess]


def _bands(x_BHSD: Tensor, before: int, after: int, L: int, reach: int) -> Tensor:
    """The keys of each block of queries, oldest first: ``[B, H, N, (reach + 1) L, D]``."""
    blocks = F.pad(x_BHSD, (0, 0, before, after)).unflatten(2, (-1, L))
    N = blocks.shape[2] - reach
    return torch.cat([blocks[:, :, j : j + N] for j in range(reach + 1)], dim=3)


def _seen(
    window: int, T: int, past: int, L: int, N: int, reach: int, hidden_B: Tensor | None, device: torch.device
) -> Tensor:
    """True where a query meets a key: ``[B or 1, 1, N, L, K]``."""
    query_NL1 = torch.arange(N * L, device=device).view(N, L, 1)
    first_N11 = torch.arange(N, device=device).view(N, 1, 1) * L - reach * L
    key_N1K = first_N11 + torch.arange((reach + 1) * L, device=device)
    seen_NLK = (key_N1K <= query_NL1) & (key_N1K > query_NL1 - window)
    start_B = torch.full((1,), -past, device=device) if hidden_B is None else hidden_B - past
    return (seen_NLK & (key_N1K >= start_B.view(-1, 1, 1, 1))).unsqueeze(1)


# ---------------------------------------------------------------- blocks: q [B, H, N, L, D], k and v [B, H, N, K, D]


def _by_parts(run: Callable[..., tuple[Tensor, ...]], seen: Tensor, *blocks: Tensor) -> tuple[Tensor, ...]:
    """``run`` on a few blocks of queries at a time, without autocast (a gradient may be asked for within one)."""
    B, H, N, _, _ = blocks[0].shape
    limit = _SCORES if seen.device.type == "cpu" else _SCORES_DEVICE
    size = max(1, limit // (B * H * seen.shape[-2] * seen.shape[-1]))
    with torch.autocast(seen.device.type, enabled=False):
        if size >= N:
            return run(seen, *blocks)
        parts = [run(*part) for part in zip(*(x.split(size, dim=2) for x in (seen, *blocks)), strict=True)]
    return tuple(torch.cat(part, dim=2) for part in zip(*parts, strict=True))


def _probabilities(seen: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.mT).masked_fill(~seen, -torch.inf).softmax(-1)


def _pull(p: Tensor, g: Tensor) -> Tensor:
    """The gradient for the scores, where ``g`` is the one for the probabilities ``p``: ``p (g - sum(p g))``."""
    return torch.ops.aten._softmax_backward_data(g, p, -1, p.dtype)


def _read(seen: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    return (_probabilities(seen, q, k) @ v,)


def _gradients(seen: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """For ``q, k, v``, where ``g`` is the gradient for the output."""
    p = _probabilities(seen, q, k)
    s = _pull(p, g @ v.mT)
    return s @ k, s.mT @ q, p.mT @ g


def _second(
    seen: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, xq: Tensor, xk: Tensor, xv: Tensor
) -> tuple[Tensor, ...]:
    """For ``q, k, v, g``, where ``xq, xk, xv`` are the gradients for what :func:`_gradients` gives.

    With ``a = g v'`` and ``s = p (a - sum(p a))``, that is the gradient of ``<s, m> + <p, g xv'>`` where ``m = xq k' +
    q xk'``: for ``a`` it is ``b = p (m - sum(p m))``, for ``p`` it is ``m (a - sum(p a)) - a sum(p m) + g xv'``.
    """
    p = _probabilities(seen, q, k)
    a, m = g @ v.mT, xq @ k.mT + q @ xk.mT
    a = a - (p * a).sum(-1, keepdim=True)
    m = m - (p * m).sum(-1, keepdim=True)
    s, b = p * a, p * m
    # The means taken off differ from the text's form by what is constant in a row, which the pull below removes.
    e = _pull(p, m * a + g @ xv.mT)
    return e @ k + s @ xk, e.mT @ q + s.mT @ xq, b.mT @ g, b @ v + p @ xv


class _Attention(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _by_parts(_read, seen, q, k, v)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        q, k, v, seen = ctx.saved_tensors
        return *_Gradients.apply(q, k, v, grads[0], seen), None  # pyright: ignore[reportGeneralTypeIssues]


class _Gradients(torch.autograd.Function):
    """The backward of :class:`_Attention`, with its own."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor, v: Tensor, g: Tensor, seen: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _by_parts(_gradients, seen, q, k, v, g)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        q, k, v, g, seen = ctx.saved_tensors
        return *_by_parts(_second, seen, q, k, v, g, *grads), None


class WindowAttention(nn.Module):
    """Multi-head :func:`attention` with rotary positions, and optionally RMS-normalised queries and keys (QK-norm).

    ``qk_bias``: queries and keys have learned biases before their norm, from 0 on, times this number (a rate of their
    own); with them a head can look so many tokens back whatever stands there. 0: no biases.

    The carry is a value of constant size, whatever was read: ``keys`` (rotated) and ``values`` of the last tokens,
    ``[B, window - 1, C]``, fp32 at least, and ``position`` (int64 ``[B]``: tokens read). A carry without keys starts
    afresh. A text in pieces, cut anywhere, gives what the whole gives.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: int,
        *,
        qk_norm: bool = False,
        qk_bias: float = 0.0,
        rope_theta: float = 10000.0,
        norm_eps: float = 1e-6,
        init_std: float = 0.02,
    ) -> None:
        super().__init__()
        if dim % heads or dim // heads % 2 or window < 1:
            raise ValueError(
                f"dim={dim}, heads={heads}, window={window}: give heads of an even width, a window of 1 up"
            )
        self.heads, self.window, self.rope_theta, width = heads, window, rope_theta, dim // heads
        self.q, self.k, self.v, self.o = (Linear(dim, dim) for _ in range(4))
        self.q_norm = RMSNorm(width, norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(width, norm_eps) if qk_norm else None
        for linear in (self.q, self.k, self.v, self.o):
            nn.init.normal_(linear.weight, std=init_std)
        self.qk_bias = qk_bias
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qk_bias else None
        self.k_bias = nn.Parameter(torch.zeros(dim)) if qk_bias else None

    @property
    def dtype(self) -> torch.dtype:
        """Of scores and carry."""
        return torch.promote_types(self.o.weight.dtype, torch.float32)

    def init_carry(self, batch: int) -> Carry:
        """The carry before any token: an empty window."""
        past_BKC = self.o.weight.new_zeros(batch, self.window - 1, self.o.in_features, dtype=self.dtype)
        return {"keys": past_BKC, "values": past_BKC.clone(), "position": past_BKC.new_zeros(batch, dtype=torch.int64)}

    def turns(self, position_B: Tensor, tokens: int) -> Tensor:
        """Rotations of the next tokens, ``[B, T, 1, D / 2]``; layers of one model may share them."""
        position_BT = position_B[:, None] + torch.arange(tokens, device=position_B.device)
        return rotations(position_BT, self.o.in_features // self.heads, self.rope_theta, self.dtype)

    def forward(
        self, x_BTC: Tensor, carry: Carry, *, lengths: Sequence[int] | None = None, turns: Tensor | None = None
    ) -> tuple[Tensor, Carry]:
        """Reads T tokens: ``(y_BTC, carry)``.

        ``lengths``: real tokens of each row; the padding at its right end changes no carry and no other token.
        """
        T, position_B = x_BTC.shape[1], carry["position"]
        turns = self.turns(position_B, T) if turns is None else turns
        q, k, v = self.q(x_BTC), self.k(x_BTC), self.v(x_BTC)
        if self.q_bias is not None and self.k_bias is not None:
            q, k = q + self.qk_bias * self.q_bias, k + self.qk_bias * self.k_bias
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v))
        q = q if self.q_norm is None else self.q_norm(q)
        k = k if self.k_norm is None else self.k_norm(k)
        with torch.autocast(x_BTC.device.type, enabled=False):
            q, k, v = rotate(q.to(self.dtype), turns), rotate(k.to(self.dtype), turns).flatten(2), v.to(self.dtype)
            hidden_B, v = None, v.flatten(2)
            if "keys" in carry:
                k, v = torch.cat([carry["keys"], k], dim=1), torch.cat([carry["values"], v], dim=1)
                hidden_B = (self.window - 1 - position_B).clamp(min=0)
            k_BHSD, v_BHSD = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (k, v))
            y = attention(q.transpose(1, 2), k_BHSD, v_BHSD, self.window, hidden_B=hidden_B).transpose(1, 2).flatten(2)
        counts_B = torch.full_like(position_B, T)
        if lengths is not None:
            counts_B = torch.tensor(lengths, dtype=position_B.dtype, device=position_B.device)
        after = {name: self._last(x, T, T - counts_B) for name, x in (("keys", k), ("values", v))}
        return self.o(y.to(x_BTC.dtype)), {**carry, **after, "position": position_B + counts_B}

    def _last(self, x_BSC: Tensor, T: int, padding_B: Tensor) -> Tensor:
        """The window for the next call: the last ``window - 1`` real ones of each row, which ends in T tokens."""
        keep = self.window - 1
        x_BSC = F.pad(x_BSC, (0, 0, keep + T - x_BSC.shape[1], 0))  # a fresh start came without
        index_BK = torch.arange(x_BSC.shape[1] - keep, x_BSC.shape[1], device=x_BSC.device) - padding_B[:, None]
        return x_BSC.gather(1, index_BK.unsqueeze(-1).expand(-1, -1, x_BSC.shape[-1]))
