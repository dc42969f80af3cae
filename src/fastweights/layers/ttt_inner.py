"""The inner models of TTT and what they have in common: reading, steps at an anchor, a chunk that is still open.

A fast layer maps ``x`` to ``x W + b``. The step that token j takes at the anchor is the outer product of its input
``a_j`` and ``u_j``, the rate times the gradient at its output. Until a chunk is full, its steps are kept as these rows
``(a, u)``; then they are folded into W. So a token reads ``x W + b`` less ``row (x · a_j + 1) u_j``
for each j that it sees.

Legend: N chunks, P sequences times heads, L tokens of a chunk, D width of a head, F output width, … any.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.layers.norm import l2_pull

_GELU = math.sqrt(2 / math.pi)


class Fast(NamedTuple):
    """One fast layer: ``w_DF`` and, where it has one, ``b_1F``; leading dimensions P or N, P."""

    w_DF: Tensor
    b_1F: Tensor | None


class Rows(NamedTuple):
    """Steps not yet folded: inputs and scaled gradients, row j that of token j; rows not used are 0."""

    a_LD: Tensor
    u_LF: Tensor


class Target(NamedTuple):
    """The inner loss, as :func:`~fastweights.layers.norm.l2_pull` takes it."""

    shift_LD: Tensor
    scale_1D: Tensor | None
    eps: float


class Inner(Protocol):
    """An inner model: a stack of fast layers."""

    @staticmethod
    def widths(head: int, expansion: int) -> list[tuple[int, int]]:
        """Input and output width of each fast layer."""
        ...

    @staticmethod
    def pulls(fast: list[Fast], k_LD: Tensor, target: Target) -> list[Rows]:
        """Every token's gradient of the inner loss at ``fast``; ``u`` without any rate."""
        ...

    @staticmethod
    def read(fast: list[Fast], q_LD: Tensor, rows: list[Rows], seen_LL: Tensor) -> Tensor:
        """The output at ``q`` where token i also sees ``seen_ij`` times the step of row j."""
        ...


def apply(x_LD: Tensor, fast: Fast) -> Tensor:
    """``x W + b``."""
    if x_LD.ndim > 3:
        y_LF = x_LD @ fast.w_DF
        return y_LF if fast.b_1F is None else y_LF + fast.b_1F
    return torch.bmm(x_LD, fast.w_DF) if fast.b_1F is None else torch.baddbmm(fast.b_1F, x_LD, fast.w_DF)


def read_rows(x_LD: Tensor, fast: Fast, rows: Rows, seen_LL: Tensor) -> Tensor:
    """``x W + b + sum_j seen_ij (x_i · a_j + 1) u_j`` (the 1 only with a bias)."""
    scores_LL = x_LD @ rows.a_LD.mT
    if fast.b_1F is not None:
        scores_LL = scores_LL + 1
    return apply(x_LD, fast) + (scores_LL * seen_LL) @ rows.u_LF


def fold(fast: Fast, rows: Rows, weight: Tensor | None = None) -> Fast:
    """The layer (``[P, D, F]``) after all steps of ``rows``, each taken ``weight`` times (None: once)."""
    u_LF = rows.u_LF if weight is None else rows.u_LF * weight
    w_DF = torch.baddbmm(fast.w_DF, rows.a_LD.mT, u_LF, alpha=-1)
    return Fast(w_DF, None if fast.b_1F is None else fast.b_1F - u_LF.sum(-2, keepdim=True))


class Linear:
    """``f(x) = x W + b``: TTT-Linear."""

    @staticmethod
    def widths(head: int, expansion: int) -> list[tuple[int, int]]:
        return [(head, head)]

    @staticmethod
    def pulls(fast: list[Fast], k_LD: Tensor, target: Target) -> list[Rows]:
        return [Rows(k_LD, l2_pull(apply(k_LD, fast[0]), target.scale_1D, target.shift_LD, target.eps))]

    @staticmethod
    def read(fast: list[Fast], q_LD: Tensor, rows: list[Rows], seen_LL: Tensor) -> Tensor:
        return read_rows(q_LD, fast[0], rows[0], seen_LL)


class MLP:
    """``f(x) = gelu(x W1 + b1) W2 + b2`` (tanh form of GELU): TTT-MLP."""

    @staticmethod
    def widths(head: int, expansion: int) -> list[tuple[int, int]]:
        return [(head, expansion * head), (expansion * head, head)]

    @staticmethod
    def pulls(fast: list[Fast], k_LD: Tensor, target: Target) -> list[Rows]:
        z_LF = apply(k_LD, fast[0])
        h_LF = F.gelu(z_LF, approximate="tanh")
        u_LD = l2_pull(apply(h_LF, fast[1]), target.scale_1D, target.shift_LD, target.eps)
        u1_LF = torch.ops.aten.gelu_backward(u_LD @ fast[1].w_DF.mT, z_LF, approximate="tanh")
        return [Rows(k_LD, u1_LF), Rows(h_LF, u_LD)]

    @staticmethod
    def read(fast: list[Fast], q_LD: Tensor, rows: list[Rows], seen_LL: Tensor) -> Tensor:
        h_LF = F.gelu(read_rows(q_LD, fast[0], rows[0], seen_LL), approximate="tanh")
        return read_rows(h_LF, fast[1], rows[1], seen_LL)


def gelu_slope(z: Tensor) -> Tensor:
    """Derivative of the tanh form of GELU; differentiable."""
    square = z * z
    t = torch.tanh(z * (_GELU + 0.044715 * _GELU * square))
    return 0.5 * z * (1 - t * t) * (_GELU + 3 * 0.044715 * _GELU * square) + 0.5 * (1 + t)


INNER: dict[str, type[Inner]] = {"linear": Linear, "mlp": MLP}


def seen(row_L: Tensor, *, strict: bool) -> Tensor:
    """``-row_i`` where token i sees token j, else 0: ``[L, L]``."""
    L = len(row_L)
    return -row_L.unsqueeze(1) * torch.ones(L, L, dtype=row_L.dtype, device=row_L.device).tril(-1 if strict else 0)


def whole_chunks(
    inner: type[Inner],
    fast: list[Fast],
    q_NPLD: Tensor,
    k_NPLD: Tensor,
    c_NPL1: Tensor,
    target: Target,
    seen_LL: Tensor,
    last: Tensor,
) -> tuple[Tensor, list[Fast]]:
    """``(z_NPLD, fast)``: N full chunks, each at its own anchor, by autograd's backward (twice differentiable).

    ``c`` are the rates of the tokens; a chunk's sum is folded ``last`` times. Only what the next anchor depends on is
    in the loop; all chunks are read together afterwards.
    """
    anchors: list[list[Fast]] = []
    written: list[list[Rows]] = []
    for k_PLD, shift_PLD, c_PL1 in zip(k_NPLD.unbind(0), target.shift_LD.unbind(0), c_NPL1.unbind(0), strict=True):
        anchors.append(fast)
        rows = scaled(inner.pulls(fast, k_PLD, target._replace(shift_LD=shift_PLD)), c_PL1)
        written.append(rows)
        fast = [fold(layer, r, last) for layer, r in zip(fast, rows, strict=True)]
    return inner.read(_stack_fast(anchors), q_NPLD, _stack_rows(written), seen_LL), fast


def scaled(rows: list[Rows], c_L1: Tensor) -> list[Rows]:
    """Gradients times the rates."""
    return [Rows(r.a_LD, r.u_LF * c_L1) for r in rows]


def _stack_fast(chunks: list[list[Fast]]) -> list[Fast]:
    out = []
    for layers in zip(*chunks, strict=True):
        biases = [b for _, b in layers if b is not None]
        out.append(Fast(torch.stack([w for w, _ in layers]), torch.stack(biases) if biases else None))
    return out


def _stack_rows(chunks: list[list[Rows]]) -> list[Rows]:
    return [Rows(*(torch.stack(parts) for parts in zip(*rows, strict=True))) for rows in zip(*chunks, strict=True)]
