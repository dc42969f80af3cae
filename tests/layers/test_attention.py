"""Window attention: its naive twin in values and three orders of gradient, strict causality, the window's edge."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from fastweights.layers import naive_attention
from fastweights.layers.attention import WindowAttention, attention

SHAPES = [
    (1, 1, 0),
    (5, 1, 0),
    (7, 3, 0),
    (9, 4, 3),
    (13, 6, 2),
    (12, 40, 0),
    (6, 40, 11),
    (1, 5, 4),
]  # T, window, past


def inputs(T: int, past: int, *, B: int = 2, H: int = 2, D: int = 4) -> list[Tensor]:
    gen = torch.Generator().manual_seed(100 * T + past)
    sizes = (T, T + past, T + past)
    return [torch.randn(B, H, n, D, dtype=torch.float64, generator=gen).requires_grad_() for n in sizes]


def orders(run: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, **options: Any) -> list[Tensor]:
    """The output, its gradients, and the gradients of a function of those."""
    y = run(q, k, v, **options)
    first = torch.autograd.grad(y.sin().sum(), (q, k, v), create_graph=True)
    second = torch.autograd.grad(torch.stack([(g.cos() * g).sum() for g in first]).sum(), (q, k, v))
    return [y, *first, *second]


@pytest.mark.parametrize(("T", "window", "past"), SHAPES)
@pytest.mark.parametrize("block", [None, 1, 3, 64])
def test_equals_the_twin_in_three_orders(T: int, window: int, past: int, block: int | None) -> None:
    tensors = inputs(T, past)
    want = orders(naive_attention.attention, *tensors, window=window)
    torch.testing.assert_close(orders(attention, *tensors, window=window, block=block), want, rtol=1e-10, atol=1e-12)


def test_keys_that_do_not_exist_are_hidden() -> None:
    q, k, v = inputs(6, 4)
    hidden_B = torch.tensor([4, 1])
    options = {"window": 5, "hidden_B": hidden_B}
    want = orders(naive_attention.attention, q, k, v, **options)
    torch.testing.assert_close(orders(attention, q, k, v, block=2, **options), want, rtol=1e-10, atol=1e-12)
    fresh = attention(q[:1], k[:1, :, 4:], v[:1, :, 4:], 5)
    torch.testing.assert_close(attention(q, k, v, **options)[:1], fresh)


def test_parts_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastweights.layers import attention as module

    tensors = inputs(23, 3)
    want = orders(attention, *tensors, window=6)
    monkeypatch.setattr(module, "_SCORES", 1)
    torch.testing.assert_close(orders(attention, *tensors, window=6), want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("T", "window", "past"), [(7, 3, 0), (5, 4, 2)])
def test_gradcheck_and_gradgradcheck(T: int, window: int, past: int) -> None:
    tensors = tuple(inputs(T, past, B=1, D=2))
    run = lambda q, k, v: attention(q, k, v, window, block=2)  # noqa: E731
    assert torch.autograd.gradcheck(run, tensors)
    assert torch.autograd.gradgradcheck(run, tensors)


def _per_sequence(run: Callable[..., Tensor]) -> Callable[..., Any]:
    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return run(q[None], k[None], v[None], 3).sin().sum()

    return torch.func.vmap(torch.func.grad(loss, argnums=(0, 1, 2)))


def test_vmap_of_grad_and_its_gradient() -> None:
    tensors = tuple(inputs(7, 2, B=3))
    got, want = (_per_sequence(run)(*tensors) for run in (attention, naive_attention.attention))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    got, want = (torch.autograd.grad(torch.stack([g.square().sum() for g in gs]).sum(), tensors) for gs in (got, want))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_gradchecks_through_vmap() -> None:
    tensors = tuple(inputs(4, 1, B=2, H=1, D=2))
    assert torch.autograd.gradcheck(_per_sequence(attention), tensors)
    over_batch = torch.func.vmap(lambda q, k, v: attention(q[None], k[None], v[None], 3))
    assert torch.autograd.gradgradcheck(over_batch, tensors)


@pytest.mark.parametrize("window", [1, 4, 64])
def test_a_token_sees_the_last_window_tokens_and_nothing_else(window: int) -> None:
    """Exactly: what lies outside may be anything finite."""
    T = 70
    q, k, v = (x.detach() for x in inputs(T, 0, B=1))
    y = attention(q, k, v, window)
    for j in range(0, T, 7):
        k2, v2 = k.clone(), v.clone()
        k2[:, :, j] += 50.0
        v2[:, :, j] -= 3.0
        changed = (attention(q, k2, v2, window) != y).any(-1).any(1)[0]
        assert changed.tolist() == [j <= i < j + window for i in range(T)]


def test_sizes_that_do_not_fit_are_refused() -> None:
    q, k, v = inputs(3, 3)
    with pytest.raises(ValueError, match="window - 1"):
        attention(q, k, v, 3)
    with pytest.raises(ValueError, match="window 0"):
        attention(q, q, q, 0)


# ---------------------------------------------------------------- the layer


def layer(window: int = 5, **options: Any) -> WindowAttention:
    torch.manual_seed(0)
    made = WindowAttention(8, 2, window, init_std=0.5, **options).double()
    if made.k_norm is not None and made.q_norm is not None:
        with torch.no_grad():
            made.k_norm.weight.add_(torch.randn(4), alpha=0.3)
            made.q_norm.weight.add_(torch.randn(4), alpha=0.3)
    if made.q_bias is not None and made.k_bias is not None:
        with torch.no_grad():
            made.q_bias.add_(torch.randn(8), alpha=0.3)
            made.k_bias.add_(torch.randn(8), alpha=0.3)
    return made


def text(T: int, B: int = 2) -> Tensor:
    return torch.randn(B, T, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(T))


OPTIONS: list[dict[str, Any]] = [{}, {"qk_norm": True}, {"qk_norm": True, "qk_bias": 2.0}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("window", [1, 2, 5, 40])
@pytest.mark.parametrize("pieces", [[1] * 13, [6, 7], [3, 1, 9], [13]])
def test_pieces_equal_the_whole(pieces: list[int], window: int, options: dict[str, Any]) -> None:
    made, x = layer(window, **options), text(13)
    carry = made.init_carry(2)
    sizes = {name: value.shape for name, value in carry.items()}
    whole, end = made(x, {"position": carry["position"]})
    outs = []
    for piece in x.split(pieces, dim=1):
        y, carry = made(piece, carry)
        assert {name: value.shape for name, value in carry.items()} == sizes
        outs.append(y)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(carry, end, rtol=1e-10, atol=1e-12)


def test_pieces_equal_the_whole_in_fp32_far_into_a_text() -> None:
    made, x, start = layer(5).float(), text(30).float(), torch.tensor([0, 100_000])
    whole, _ = made(x, {**made.init_carry(2), "position": start})
    carry, outs = {**made.init_carry(2), "position": start}, []
    for piece in x.split([11, 2, 17], dim=1):
        y, carry = made(piece, carry)
        outs.append(y)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole, rtol=0, atol=1e-6)


def test_padding_changes_nothing() -> None:
    made, x = layer(), text(12)
    first, carry = made(x[:, :7], made.init_carry(2), lengths=[7, 2])
    second, carry = made(x[:, 7:], carry, lengths=[5, 4])
    alone, end = made(torch.cat([x[1:, :2], x[1:, 7:11]], dim=1), made.init_carry(1))
    torch.testing.assert_close(torch.cat([first[1:, :2], second[1:, :4]], dim=1), alone)
    torch.testing.assert_close({name: value[1:] for name, value in carry.items()}, end)
    assert carry["position"].tolist() == [12, 6]


def test_only_distance_counts() -> None:
    """Rotary positions: the same text further on reads the same."""
    made, x = layer(qk_bias=2.0), text(9)
    near, _ = made(x, {"position": torch.tensor([0, 0])})
    far, _ = made(x, {"position": torch.tensor([1000, 77])})
    torch.testing.assert_close(near, far)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_layer_is_twice_differentiable_also_through_vmap(options: dict[str, Any]) -> None:
    made, x = layer(3, **options), text(5).requires_grad_()
    names = [name for name, _ in made.named_parameters()]
    weights = tuple(p.detach().clone().requires_grad_() for p in made.parameters())

    def read(x: Tensor, *weights: Tensor) -> Tensor:
        carry = {"position": torch.zeros(1, dtype=torch.int64)}
        return torch.func.functional_call(made, dict(zip(names, weights, strict=True)), (x[None], carry))[0].sin().sum()

    assert torch.autograd.gradgradcheck(lambda x: read(x[0], *weights), (x[:1].detach().requires_grad_(),))
    each = torch.func.vmap(
        torch.func.grad(read, argnums=tuple(range(len(weights) + 1))), in_dims=(0, *[None] * len(names))
    )
    grads = each(x, *weights)
    want = torch.autograd.grad(read(x[1], *weights), (x, *weights), create_graph=True)
    torch.testing.assert_close([g[1] for g in grads], [want[0][1], *want[1:]])
    second = torch.autograd.grad(torch.stack([g[1].square().sum() for g in grads]).sum(), weights)
    expected = torch.autograd.grad(torch.stack([g.square().sum() for g in want]).sum(), weights)
    torch.testing.assert_close(second, expected)
