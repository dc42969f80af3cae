"""TinyLM as a value machine: streamed equals whole, causal, sequences apart, any dtype, vmap over weights."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fastweights.models.tiny_lm import Carry, TinyLM
from fastweights.models.tiny_lm_config import TinyLMConfig
from tests.models.tiny_models import CONFIGS, build, tokens


def assert_carry_equal(a: Carry, b: Carry) -> None:
    assert a.keys() == b.keys()
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 23), max_size=4))
def test_streamed_equals_whole(name: str, cuts: list[int]) -> None:
    model, x = build(name), tokens()
    whole, end = model(x)
    carry, parts = None, []
    edges = [0, *sorted(set(cuts)), x.shape[1]]
    for a, b in pairwise(edges):
        y, carry = model(x[:, a:b], carry)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    assert carry is not None
    assert_carry_equal(carry, end)


@pytest.mark.parametrize("name", CONFIGS)
def test_strictly_causal_and_sequences_apart(name: str) -> None:
    model, x = build(name), tokens()
    before, _ = model(x)
    changed = x.clone()
    changed[1, 13] = (changed[1, 13] + 1) % 20
    after, _ = model(changed)
    differs = (before != after).any(dim=-1)
    assert not differs[[0, 2]].any()
    assert not differs[1, :13].any()
    assert differs[1, 13:].all()  # and the state remembers: nothing here decays to zero in 24 steps


@pytest.mark.parametrize("name", CONFIGS)
def test_batched_equals_one_by_one(name: str) -> None:
    model, x = build(name), tokens()
    whole, end = model(x)
    for i in range(len(x)):
        one, carry = model(x[i : i + 1])
        torch.testing.assert_close(one[0], whole[i])
        assert_carry_equal(carry, {k: v[i : i + 1] for k, v in end.items()})


@pytest.mark.parametrize("name", CONFIGS)
def test_carry_in_is_not_changed_and_leads_with_the_batch(name: str) -> None:
    model, x = build(name), tokens()
    _, carry = model(x)
    assert all(v.shape[0] == 3 for v in carry.values())
    kept = {k: v.clone() for k, v in carry.items()}
    model(x, carry)
    assert_carry_equal(carry, kept)
    assert carry.keys() == model.init_carry(1).keys()
    assert all(v.dtype in (torch.float64, torch.int64) for v in carry.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_forward_is_hidden_then_logits(name: str) -> None:
    model, x = build(name, torch.float32), tokens()
    h, _ = model.hidden(x)
    assert h.shape == (3, 24, 16)
    torch.testing.assert_close(model.logits(h), model(x)[0])
    assert model.logits(h[0, 0]).shape == (20,)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradcheck_of_every_weight(name: str) -> None:
    model, x = build(name), tokens(2, 6)
    _, carry = model(tokens(2, 5, seed=9))
    carry = {k: v.detach() for k, v in carry.items()}
    names = [n for n, _ in model.named_parameters() if "ngram" not in n]  # the table's rows: test_layers
    values = tuple(dict(model.named_parameters())[n] for n in names)

    def run(*weights: torch.Tensor) -> torch.Tensor:
        out, _ = torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (x, carry))
        return out

    assert torch.autograd.gradcheck(run, values, fast_mode=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_vmap_over_batched_weights(name: str) -> None:
    """Sleep trains the backbone as batched fast weights."""
    model, x = build(name), tokens(2)
    weights = {n: p.detach() for n, p in model.named_parameters() if n.startswith(("backbone.", "norm."))}
    stacked = {n: torch.stack([p, p * 0.9]) for n, p in weights.items()}

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, weights, (x.unsqueeze(0),))[0].square().mean()

    grads = torch.func.vmap(torch.func.grad(loss))(stacked, x)
    alone = torch.func.grad(loss)({n: p[1] for n, p in stacked.items()}, x[1])
    torch.testing.assert_close({n: g[1] for n, g in grads.items()}, alone)


def test_names_of_the_state_dict() -> None:
    names = TinyLM(TinyLMConfig(vocab_size=20, dim=16, layers=2, ngram_orders=(2,))).state_dict()
    assert {n.split(".")[0] for n in names} == {"embedding", "backbone", "norm", "head"}
    assert "backbone.layers.1.mixer.out.weight" in names


@pytest.mark.parametrize("orders", [(1, 2), (3, 2), (2, 2), (17,)])
def test_bad_orders_are_named(orders: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="ngram_orders"):
        TinyLMConfig(vocab_size=20, ngram_orders=orders)
