"""The recurrence against the naive loop: every decay, outputs and gradients, pieces, batches, higher order."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fastweights.layers import naive
from fastweights.layers.scan import scan, steady_scan

EDGE = [1e-30, 1e-7, 0.5, 1 - 6e-8, 1 - 1e-4]
decays = st.one_of(st.sampled_from(EDGE), st.floats(1e-38, 1 - 6e-8, exclude_min=True))


def inputs(T: int, decay: float | None, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    gen = torch.Generator().manual_seed(seed)
    u = torch.randn(3, T, 5, generator=gen, dtype=dtype)
    a = torch.rand(3, T, 5, generator=gen, dtype=dtype) if decay is None else torch.full_like(u, decay)
    s0 = torch.randn(3, 5, generator=gen, dtype=dtype)
    return tuple(x.requires_grad_() for x in (a, u * (1 - a), s0))


def assert_close(got: Tensor, want: Tensor) -> None:
    """To 1e-5 of the largest element: a sum of 512 terms cannot be nearer in fp32, in whatever order."""
    assert (got - want).abs().max() <= 1e-5 * want.abs().max().clamp(min=1)


def both(T: int, decay: float | None, seed: int) -> None:
    fast, slow = inputs(T, decay, seed), inputs(T, decay, seed)
    fast, slow = [tuple(x.detach().requires_grad_() for x in group) for group in (fast, slow)]
    out, want = scan(*fast), naive.scan(*slow)
    assert torch.equal(out, want)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed + 1))
    for got, expected in zip(
        torch.autograd.grad((out * weight).sum(), fast), torch.autograd.grad((want * weight).sum(), slow), strict=True
    ):
        assert_close(got, expected)


@settings(max_examples=25, deadline=None)
@given(decay=decays, seed=st.integers(0, 2**16))
def test_equals_the_loop_at_512_for_every_decay(decay: float, seed: int) -> None:
    both(512, decay, seed)


@pytest.mark.parametrize("decay", [0.0, 1.0, *EDGE, None])
@pytest.mark.parametrize("T", [1, 2, 3, 17, 512])
def test_ragged_lengths_and_the_closed_ends(T: int, decay: float | None) -> None:
    both(T, decay, T)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 63), max_size=5), seed=st.integers(0, 99))
def test_pieces_equal_the_whole(cuts: list[int], seed: int) -> None:
    a, u, s = inputs(64, None, seed)
    whole = scan(a, u, s)
    edges = [0, *sorted(set(cuts)), 64]
    parts = []
    for start, end in pairwise(edges):
        parts.append(scan(a[:, start:end], u[:, start:end], s))
        s = parts[-1][:, -1]
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_gradients_first_and_second_order() -> None:
    args = inputs(6, None, dtype=torch.float64)
    args = tuple(x.detach().requires_grad_() for x in args)
    assert torch.autograd.gradcheck(scan, args)
    assert torch.autograd.gradgradcheck(scan, args)


def test_under_vmap_with_and_without_batched_inputs() -> None:
    a, u, s = (x.detach() for x in inputs(9, None))
    batched = torch.stack([u, 2 * u])
    out = torch.func.vmap(scan, in_dims=(None, 0, None))(a, batched, s)
    torch.testing.assert_close(out, torch.stack([scan(a, u, s), scan(a, 2 * u, s)]))

    def loss(u: Tensor) -> Tensor:
        return scan(a, u, s).square().sum()

    grads = torch.func.vmap(torch.func.grad(loss))(batched)
    torch.testing.assert_close(grads[1], torch.func.grad(loss)(2 * u))


def test_shapes_are_checked() -> None:
    a, u, s = inputs(4, None)
    with pytest.raises(ValueError, match="shapes"):
        scan(a[:, :3], u, s)


@settings(max_examples=25, deadline=None)
@given(T=st.integers(1, 200), decay=st.one_of(decays, st.floats(-0.99, -1e-3)), seed=st.integers(0, 99))
def test_steady_scan_equals_the_loop(T: int, decay: float, seed: int) -> None:
    _, u, s = (x.detach() for x in inputs(T, decay, seed))
    a = torch.full((5,), decay)
    assert_close(steady_scan(a, u, s), naive.scan(a.expand_as(u), u, s))


def test_gradients_of_steady_scan() -> None:
    a, u, s = (x.detach() for x in inputs(11, None, dtype=torch.float64))
    assert torch.autograd.gradcheck(steady_scan, tuple(x.requires_grad_() for x in (a[0, 0].clone(), u, s)))
