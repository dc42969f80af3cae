"""dense: numbers and gradients of torch's own linear, whichever library computes them."""

import pytest
import torch
from torch.nn import functional as F

from fastweights.core.gemm import dense


@pytest.mark.parametrize("shape", [(3, 5, 8), (2, 130, 192), (300, 192)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_linear_with_gradients(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=gen, dtype=dtype, requires_grad=True)
    w = torch.randn(160, shape[-1], generator=gen, dtype=dtype, requires_grad=True)
    results = []
    for run in (dense, F.linear):
        y = run(x, w)
        results.append((y, *torch.autograd.grad(y.sin().sum(), (x, w))))
    for got, want in zip(*results, strict=True):
        assert got.shape == want.shape
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_second_derivative_and_autocast() -> None:
    x, w = torch.randn(256, 256, requires_grad=True), torch.randn(256, 256, requires_grad=True)
    (first,) = torch.autograd.grad(dense(x, w).square().sum(), w, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.isfinite().all()
    assert second.abs().max() > 0
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(x, w).dtype == torch.bfloat16
    frozen = dense(x, w.detach())
    assert torch.autograd.grad(frozen.sum(), x)[0].shape == x.shape
