"""Specs, trees, chunks, numerics, Newton-Schulz."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastweights.core.chunks import next_token_chunks
from fastweights.core.losses import cross_entropy_B
from fastweights.core.muon import orthogonalize
from fastweights.core.numerics import finite_or_none, robust_z
from fastweights.core.rules import SGD, Muon
from fastweights.core.spec import select
from fastweights.core.state import FastState, from_tensors, is_finite, norm_B, to_tensors
from fastweights.core.tree import leaves, map_tree, rebuild

NAMES = ["context.weight", "layers.0.mlp.w", "layers.1.mlp.w", "norm.weight"]


def test_select_keeps_the_order_of_the_names() -> None:
    assert select(NAMES, ["norm.*", "layers.*.w"]) == ["layers.0.mlp.w", "layers.1.mlp.w", "norm.weight"]


@pytest.mark.parametrize("patterns", [["norms.*"], ["context.*", "head"], []])
def test_a_spec_that_matches_nothing_is_an_error(patterns: list[str]) -> None:
    with pytest.raises(ValueError, match=r"matches no parameter; the nearest|spec is empty"):
        select(NAMES, patterns)


def test_tree_round_trip() -> None:
    tree = {"a": (torch.ones(1), [torch.zeros(2), None]), "b": {}}
    named = dict(leaves(tree))
    assert list(named) == ["a/0", "a/1/0"]
    back = rebuild(tree, named)
    assert isinstance(back["a"], tuple)
    assert back["a"][1][1] is None
    assert map_tree(lambda t: t + 1, tree)["a"][1][0].tolist() == [1, 1]
    with pytest.raises(TypeError, match="'a/0' is a float"):
        dict(leaves({"a": [1.0]}))


@given(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=40), st.integers(1, 9))
def test_every_id_is_a_target_once_after_its_predecessor(last: int, ids: list[int], size: int) -> None:
    chunks = list(next_token_chunks(last, ids, size))
    targets = [t for c in chunks for t in c.targets_BT[0].tolist()]
    tokens = [t for c in chunks for t in c.tokens_BT[0].tolist()]
    assert targets == ids
    assert tokens == [last, *ids][: len(ids)]
    assert all(1 <= c.tokens_BT.shape[1] <= size and bool(c.mask_BT.all()) for c in chunks)


def test_chunk_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="chunk_tokens is 0"):
        list(next_token_chunks(0, [1], 0))


def test_masked_positions_do_not_count() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 2, 3], [4, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = cross_entropy_B(logits, targets, mask)
    assert math.isclose(loss[1].item(), -torch.log_softmax(logits[1, 0], -1)[4].item(), rel_tol=1e-5)
    assert cross_entropy_B(logits, targets, torch.zeros_like(mask)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 4, 16), (2, 16, 4), (1, 1, 9)])
def test_orthogonalize_brings_singular_values_near_one(shape: tuple[int, ...]) -> None:
    g = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = orthogonalize(g, steps=5)
    values = torch.linalg.svdvals(out)
    assert 0.3 < values.min() <= values.max() < 1.3
    u, _, vh = torch.linalg.svd(g, full_matrices=False)
    alignment = (out * (u @ vh)).sum() / (out.norm() * (u @ vh).norm())
    assert alignment > 0.97


def test_muon_scale_convention() -> None:
    """Scale sqrt(max(1, M / N)): a tall update is larger, a wide one is not."""
    generator = torch.Generator().manual_seed(0)
    rule = Muon(lr=1.0, momentum=0.0, nesterov=False)
    for rows, cols in ((64, 16), (16, 64), (16, 16)):
        g = {"w": torch.randn(1, rows, cols, generator=generator)}
        delta, _ = rule.delta(g, rule.init(g), g)
        expected = max(1.0, rows / cols) ** 0.5
        assert torch.linalg.svdvals(delta["w"][0])[0] == pytest.approx(expected, rel=0.25)


def test_muon_treats_a_vector_as_one_row() -> None:
    g = {"v": torch.tensor([[3.0, 4.0]]), "s": torch.tensor([-2.0])}
    rule = Muon(lr=1.0, momentum=0.0, nesterov=False)
    delta, _ = rule.delta(g, rule.init(g), g)
    direction = -delta["v"][0]
    assert torch.allclose(direction / direction.norm(), torch.tensor([0.6, 0.8]))
    assert 0.6 < direction.norm() < 1.3
    assert 0.6 < delta["s"].item() < 1.3


@pytest.mark.parametrize("bad", [{"momentum": 1.0}, {"momentum": -0.1}, {"momentum": 0.0, "nesterov": True}])
@pytest.mark.parametrize("rule", [SGD, Muon])
def test_rules_refuse_impossible_momentum(rule: type, bad: dict) -> None:
    with pytest.raises(ValueError, match=r"momentum"):
        rule(**bad)


def test_robust_z_has_a_floor_and_a_minimum_history() -> None:
    assert robust_z(1.0, [0.0] * 7, spread_floor=0.1, min_history=8) is None
    assert robust_z(1.0, [0.0] * 8, spread_floor=0.1, min_history=8) == pytest.approx(10.0)
    assert robust_z(3.0, [0.0, 1.0, 2.0, 1.0] * 2, spread_floor=1e-9, min_history=8) == pytest.approx(
        2 / (1.4826 * 0.5)
    )


def test_floats_for_json() -> None:
    assert finite_or_none(float("nan")) is None
    assert finite_or_none(float("-inf")) is None
    assert finite_or_none(None) is None
    assert finite_or_none(0.5) == 0.5


def test_norm_and_finiteness() -> None:
    tensors = {"a": torch.tensor([[3.0], [0.0]]), "b": torch.tensor([[4.0], [1.0]])}
    assert norm_B(tensors).tolist() == [5.0, 1.0]
    assert is_finite(tensors)
    assert not is_finite({"a": torch.tensor([float("nan")]), "i": torch.tensor([1])})


def test_a_state_of_another_shape_names_the_tensor() -> None:
    state = FastState({"w": torch.zeros(1, 2)}, {}, {"c": torch.zeros(1)})
    other = FastState({"w": torch.zeros(1, 3)}, {}, {"c": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"'weights/w' is \(1, 3\).*expected \(1, 2\)"):
        from_tensors(to_tensors(other), state)
    with pytest.raises(ValueError, match="lacks tensor 'carry/c'"):
        from_tensors({k: v for k, v in to_tensors(state).items() if k != "carry/c"}, state)
    with pytest.raises(ValueError, match="unexpected tensor 'weights/x'"):
        from_tensors({**to_tensors(state), "weights/x": torch.zeros(1)}, state)
