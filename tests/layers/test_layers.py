"""Convolution, recurrent layers and n-gram hashing against their twins."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fastweights.layers import naive
from fastweights.layers.conv import CausalConv
from fastweights.layers.gru import GRU
from fastweights.layers.mlp import MLP
from fastweights.layers.ngram import NGramEmbedding
from fastweights.layers.ssm import SSM


def randomise(module: nn.Module, seed: int = 0) -> None:
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=gen, dtype=p.dtype) * 0.5)


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("T", [1, 2, 9])
def test_conv_equals_its_twin(taps: int, T: int) -> None:
    conv = CausalConv(6, taps).double()
    randomise(conv)
    x = torch.randn(2, T, 6, dtype=torch.float64, requires_grad=True)
    past = torch.randn(2, taps - 1, 6, dtype=torch.float64)
    y, after = conv(x, past)
    want = naive.causal_conv(x, conv.weight, past)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(
        torch.autograd.grad(y.sin().sum(), [x, conv.weight]), torch.autograd.grad(want.sin().sum(), [x, conv.weight])
    )
    assert torch.equal(after, torch.cat([past, x], dim=1)[:, T:])


@pytest.mark.parametrize("T", [1, 7, 40])
def test_ssm_equals_its_twin(T: int) -> None:
    layer = SSM(8, 4).double()
    randomise(layer)
    x = torch.randn(3, T, 8, dtype=torch.float64, requires_grad=True)
    got, _ = layer(x, layer.init_carry(3))
    want = naive.ssm(layer, x)
    torch.testing.assert_close(got, want)
    inputs = [x, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(got.sin().sum(), inputs), torch.autograd.grad(want.sin().sum(), inputs)
    )


def test_gru_equals_torch() -> None:
    layer, twin = GRU(8), nn.GRU(8, 8, batch_first=True)
    randomise(layer)
    names = {"weight_ih_l0": "input.weight", "weight_hh_l0": "recurrent.weight"}
    names |= {"bias_ih_l0": "input.bias", "bias_hh_l0": "recurrent.bias"}
    ours = dict(layer.named_parameters())
    twin.load_state_dict({theirs: ours[mine].detach() for theirs, mine in names.items()})
    x = torch.randn(3, 20, 8)
    s0 = torch.randn(3, 8)
    y, carry = layer(x, {"state": s0})
    want, last = twin(x, s0.unsqueeze(0))
    torch.testing.assert_close(y, want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(carry["state"], last[0], rtol=1e-5, atol=1e-5)


def test_mlp_starts_as_zero() -> None:
    assert MLP(4, 8)(torch.randn(2, 3, 4)).abs().max() == 0


@settings(max_examples=30, deadline=None)
@given(tokens=st.lists(st.integers(0, 65535), min_size=1, max_size=30), cut=st.integers(0, 30))
def test_ngram_rows_equal_python_integers_whole_and_streamed(tokens: list[int], cut: int) -> None:
    layer = NGramEmbedding((2, 3, 5), 1000, 4, 8)
    want = naive.ngram_rows(tokens, (2, 3, 5), 1000)
    x = torch.tensor([tokens])
    rows, _ = layer.rows(x, layer.init_carry(1))
    assert rows[0].tolist() == want
    got, past = [], layer.init_carry(1)
    for part in (x[:, :cut], x[:, cut:]):
        if part.shape[1]:
            rows, past = layer.rows(part, past)
            got += rows[0].tolist()
    assert got == want


def test_ngram_rows_spread() -> None:
    layer = NGramEmbedding((2,), 4096, 4, 8)
    pairs = torch.cartesian_prod(torch.arange(64), torch.arange(64))
    rows, _ = layer.rows(pairs, layer.init_carry(len(pairs)))
    assert rows[:, 1, 0].unique().numel() > 4096 * (1 - 1 / 2.718) * 0.95  # as a random hash would


def test_ngram_sparse_gradient_equals_dense() -> None:
    layer = NGramEmbedding((2, 3), 300, 4, 8)
    randomise(layer)
    x = torch.randint(0, 5, (3, 11))
    grads = []
    for layer.sparse_grad in (False, True):
        e, _ = layer(x, layer.init_carry(3))
        (grad,) = torch.autograd.grad(e.sin().sum(), [layer.weight])
        grads.append(grad.to_dense() if grad.is_sparse else grad)
    torch.testing.assert_close(grads[0], grads[1])
