"""Layer normalisation by hand: what the inner loops of TTT need of it; RMSNorm with a weight a sequence.

Legend: … any, D normalised width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.RMSNorm):
    """``nn.RMSNorm`` over the last dimension, in the dtype of its weight.

    ``functional_call`` may give a weight ``[B, D]``: each sequence's own.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        if self.weight.dim() == 1:
            return super().forward(x)
        batch, width = self.weight.shape
        scale = self.weight.view(batch, *[1] * (x.dim() - 2), width)
        return F.rms_norm(x, self.normalized_shape, None, self.eps) * scale


def normalize(z_D: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``(xhat, mean, rstd)``: ``z`` with mean 0 and variance 1 over its last dimension, and what divided it."""
    return torch.native_layer_norm(z_D, [z_D.shape[-1]], None, None, eps)


def normalize_backward(g_D: Tensor, z_D: Tensor, mean_1: Tensor, rstd_1: Tensor) -> Tensor:
    """Gradient for ``z`` where ``g`` is the gradient for ``xhat``: ``rstd (g - mean g - xhat mean(g xhat))``."""
    width = [z_D.shape[-1]]
    return torch.ops.aten.native_layer_norm_backward(g_D, z_D, width, mean_1, rstd_1, None, None, [True, False, False])[
        0
    ]


def l2_pull(z_D: Tensor, scale_D: Tensor | None, shift_D: Tensor, eps: float) -> Tensor:
    """Gradient for ``z`` of ``|gain * xhat(z) + bias - target|² / 2``, differentiable.

    With ``scale = gain²`` (None: 1) and ``shift = gain (bias - target)``, the gradient for ``xhat`` is
    ``scale * xhat + shift``.
    """
    if torch.compiler.is_compiling():
        return plain_l2_pull(z_D, scale_D, shift_D, eps)  # the compiler fuses it better than torch's own kernels
    xhat_D, mean_1, rstd_1 = normalize(z_D, eps)
    g_D = shift_D + xhat_D if scale_D is None else torch.addcmul(shift_D, xhat_D, scale_D)
    return normalize_backward(g_D, z_D, mean_1, rstd_1)


def plain_normalize(z_D: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """``(xhat, rstd)`` as of :func:`normalize`, spelled out."""
    centred_D = z_D - z_D.mean(-1, keepdim=True)
    rstd_1 = torch.rsqrt(centred_D.square().mean(-1, keepdim=True) + eps)
    return centred_D * rstd_1, rstd_1


def plain_l2_pull(z_D: Tensor, scale_D: Tensor | None, shift_D: Tensor, eps: float) -> Tensor:
    """:func:`l2_pull` spelled out."""
    xhat_D, rstd_1 = plain_normalize(z_D, eps)
    g_D = shift_D + (xhat_D if scale_D is None else scale_D * xhat_D)
    g_D = g_D - g_D.mean(-1, keepdim=True)
    return (g_D - xhat_D * (g_D * xhat_D).mean(-1, keepdim=True)) * rstd_1
