"""The fast product equals the plain one to fp32's rounding, for any strides, and leaves autograd alone."""

import pytest
import torch

from fastweights.core.gemm import linear


@pytest.mark.parametrize("rows", [0, 1, 42, 128])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(8192, 64), (64, 8192), (5, 3)])
def test_equals_double_precision(rows: int, bias: bool, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, shape[1], generator=generator)
    w = torch.randn(shape[1], shape[0], generator=generator).T  # not contiguous
    b = torch.randn(shape[0], generator=generator) if bias else None
    want = x.double() @ w.double().T + (0 if b is None else b.double())
    got = linear(x, w, b)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-6 * shape[1])


def test_a_graph_is_kept_where_one_is_wanted() -> None:
    x, w = torch.randn(2, 64, requires_grad=True), torch.randn(8192, 64)
    (grad,) = torch.autograd.grad(linear(x, w).sum(), [x])
    torch.testing.assert_close(grad, w.sum(0).expand(2, 64), rtol=1e-4, atol=1e-3)


def test_not_a_number_stays_one() -> None:
    x = torch.ones(3, 64)
    x[1] = torch.nan
    out = linear(x, torch.randn(8192, 64))
    assert torch.isfinite(out[[0, 2]]).all()
    assert torch.isnan(out[1]).all()
