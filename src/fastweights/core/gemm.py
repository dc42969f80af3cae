"""``x @ w.T + b`` by whichever library does it fastest in fp32 on this CPU. Legend: N rows, K inner width, M outputs.

On some AMD processors with AVX-512, oneDNN takes 0.4 of the time of MKL, which torch calls by default: 215 against 85
GFLOP/s for 128 x 64 x 8192 on one thread; on others both reach the core's peak of 105. Both are fp32 throughout.
"""

import functools
from typing import Any

import torch
from torch import Tensor

_LEAST_PRODUCTS = 1 << 22  # N K M; below, the call itself is what costs


def linear(x_NK: Tensor, w_MK: Tensor, b_M: Tensor | None = None) -> Tensor:
    """``[N, M]``. Where autograd would have to look inside, torch's own; any strides are fine."""
    if _onednn_takes(x_NK, w_MK, b_M):
        return torch.ops.mkldnn._linear_pointwise(x_NK, w_MK, b_M, "none", [], "")
    return torch.nn.functional.linear(x_NK, w_MK, b_M)


def dense(x_NK: Tensor, w_MK: Tensor) -> Tensor:
    """``x @ w.T`` for layers: like :func:`linear`, and its gradients too are computed by the fastest library.

    Leading dimensions of ``x`` are free; differentiable any number of times. Autocast and other devices: torch's own.
    """
    if x_NK.numel() * w_MK.shape[0] < _LEAST_PRODUCTS or not (_plain(x_NK, w_MK) and _has_onednn()):
        return torch.nn.functional.linear(x_NK, w_MK)
    y_NM = _Dense.apply(x_NK.reshape(-1, x_NK.shape[-1]), w_MK)
    assert isinstance(y_NM, Tensor)
    return y_NM.view(*x_NK.shape[:-1], -1)


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NK: Tensor, w_MK: Tensor) -> Tensor:
        ctx.save_for_backward(x_NK, w_MK)
        return torch.ops.mkldnn._linear_pointwise(x_NK, w_MK, None, "none", [], "")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (g_NM,) = grads
        x_NK, w_MK = ctx.saved_tensors
        return (
            dense(g_NM, w_MK.T) if ctx.needs_input_grad[0] else None,
            dense(g_NM.T, x_NK.T) if ctx.needs_input_grad[1] else None,
        )


def _plain(*tensors: Tensor) -> bool:
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors) and not (
        torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    )


def _onednn_takes(x_NK: Tensor, w_MK: Tensor, b_M: Tensor | None) -> bool:
    given = (x_NK, w_MK) if b_M is None else (x_NK, w_MK, b_M)
    return (
        x_NK.numel() * w_MK.shape[0] >= _LEAST_PRODUCTS
        and all(t.dtype == torch.float32 and t.device.type == "cpu" for t in given)
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in given))
        and _has_onednn()
    )


@functools.cache
def _has_onednn() -> bool:
    """Whether this build's operator is there and computes what it should."""
    if not torch.backends.mkldnn.is_available():
        return False
    try:
        x, w, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([5.0])
        return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "").tolist() == [[16.0]]
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
