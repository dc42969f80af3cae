"""The reader: 500 + 500 steps equal 1,000 bit for bit, from a saved state too; and what it learns, it learns."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from fastweights.data import physics
from fastweights.data.physics import MODES, Mode
from fastweights.guard.regression_policy import GradientCapPolicy, NanoPolicy, RegressionPolicy, StateBoundPolicy
from fastweights.models.nano_config import RULES, NanoLearning, Rule
from fastweights.models.nano_reader import NanoReader, NanoState, Reading
from fastweights.store.tensors import dumps, loads
from tests.models.nano_models import base


def _reader(rule: Rule, mode: Mode = "linear", **fields) -> NanoReader:
    return NanoReader(base(mode), NanoLearning(rule=rule, **fields))


def _saved(reader: NanoReader, state: NanoState) -> NanoState:
    """Through the bytes and the JSON that a store keeps."""
    return reader.load(*_stored(reader, state))


def _stored(reader: NanoReader, state: NanoState) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, rest = _bytes(reader, state)
    return loads(tensors)[0], json.loads(rest)


def _bytes(reader: NanoReader, state: NanoState) -> tuple[bytes, str]:
    tensors, rest = reader.save(state)
    return dumps(tensors), json.dumps(rest, sort_keys=True)


def _same_rows(pieces: list[Reading], whole: Reading, columns: tuple[str, ...]) -> None:
    for name in columns:
        joined = np.concatenate([getattr(piece.steps, name) for piece in pieces])
        assert np.array_equal(joined, getattr(whole.steps, name)), name


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", MODES)
def test_500_and_500_equal_1000(rule: Rule, mode: Mode) -> None:
    reader = _reader(rule, mode)
    begin = reader.start(physics.start(mode, 4, noise=0.1))
    whole = reader.read(begin, 1000)
    first = reader.read(begin, 500)
    again, state = NanoReader.open(*_stored(reader, first.state), NanoLearning(rule=rule))
    second = again.read(state, 500)
    assert _bytes(again, second.state) == _bytes(reader, whole.state)
    columns = ("t", "baseline", "adaptive", "oracle", "mean_mu", "did_update", "update_ok")
    _same_rows([first, second], whole, columns)
    assert [w.t for w in first.writes + second.writes] == [w.t for w in whole.writes] == [*range(32, 1001, 32)]
    assert [w.event for w in first.writes + second.writes] == [w.event for w in whole.writes]


@pytest.mark.parametrize("rule", RULES)
def test_any_cut_is_the_same(rule: Rule) -> None:
    reader = _reader(rule)
    begin = reader.start(physics.start("linear", 8))
    whole = reader.read(begin, 140)
    state, pieces = begin, []
    for steps in (1, 0, 31, 33, 5, 27, 40, 3):
        pieces.append(reader.read(_saved(reader, state), steps))
        state = pieces[-1].state
    assert _bytes(reader, state) == _bytes(reader, whole.state)
    _same_rows(pieces, whole, ("baseline", "adaptive", "oracle"))


def test_every_part_has_a_state_to_go_on_from() -> None:
    reader = _reader("rls")
    begin = reader.start(physics.start("linear", 2))
    whole = reader.read(begin, 200)
    parts = [*reader.parts(begin, 200)]
    assert [len(part.steps.t) for part in parts] == [32] * 6 + [8]
    rest = reader.read(parts[2].state, 200 - 96)
    assert _bytes(reader, rest.state) == _bytes(reader, whole.state)


@pytest.mark.parametrize("mode", MODES)
def test_learning_helps(mode: Mode) -> None:
    for rule in RULES:
        reader = _reader(rule, mode)
        found = [reader.read(reader.start(physics.start(mode, seed)), 600).steps for seed in range(3)]
        frozen, adaptive = (np.array([getattr(s, k).mean() for s in found]) for k in ("baseline", "adaptive"))
        assert (adaptive < frozen).all(), rule
        assert all(np.array_equal(s.baseline, s.session_frozen) for s in found)  # they began as the base


def test_the_run_starts_from_what_was_learned() -> None:
    reader = _reader("rls")
    first = reader.read(reader.start(physics.start("linear", 0)), 320)
    second = reader.read(first.state, 320)
    assert second.steps.session_frozen.mean() < 0.2 * second.steps.baseline.mean()


@pytest.mark.parametrize(
    ("policy", "check", "decision"),
    [
        (NanoPolicy(gradient=GradientCapPolicy(limit=1e-9)), "gradient_cap", "blocked"),
        (NanoPolicy(regression=RegressionPolicy(ratio=1e-6, floor=0)), "loss_regression", "rolled_back"),
        (NanoPolicy(state=StateBoundPolicy(limit=1e-6)), "state_bound", "rolled_back"),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_each_check_refuses(policy: NanoPolicy, check: str, decision: str, rule: Rule) -> None:
    reader = _reader(rule, policy=policy)
    begin = reader.start(physics.start("linear", 1))
    found = reader.read(begin, 64)
    assert [w.event.decision for w in found.writes] == [decision] * 2
    assert any(c.check == check and not c.ok for c in found.writes[0].event.checks)
    kept = found.state.session.fast
    assert all(torch.equal(w, begin.session.fast.weights[name]) for name, w in kept.weights.items())
    assert all(torch.equal(w, begin.session.fast.rule[k][n]) for k, ws in kept.rule.items() for n, w in ws.items())
    assert kept.step == 0
    assert not torch.equal(kept.carry["h"], begin.session.fast.carry["h"])  # the live state goes on
    assert not found.steps.update_ok.any()
    assert np.flatnonzero(found.steps.did_update).tolist() == [31, 63]


def test_a_rate_that_is_far_too_high_changes_nothing() -> None:
    reader = _reader("sgd", lr=50.0, momentum=0.0)
    found = reader.read(reader.start(physics.start("linear", 1)), 640)
    assert {w.event.decision for w in found.writes} <= {"rolled_back", "blocked"}
    np.testing.assert_allclose(found.steps.adaptive, found.steps.baseline, rtol=1e-4)


def test_a_state_of_another_rule_or_base_is_refused() -> None:
    reader = _reader("rls")
    saved = reader.save(reader.start(physics.start("linear", 0)))
    with pytest.raises(ValueError, match="it belongs to another"):
        _reader("muon").load(*saved)
    with pytest.raises(ValueError, match="read with another base model"):
        _reader("rls", "nonlinear").load(*saved)
    with pytest.raises(ValueError, match="lacks tensor 'reader/open_x'"):
        reader.load({k: t for k, t in saved[0].items() if k != "reader/open_x"}, saved[1])


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_memory_can_be_left_behind(rule: Rule) -> None:
    reader = _reader(rule)
    state = reader.read(reader.start(physics.start("linear", 0)), 128).state
    fresh = reader.without_momentum(state)
    assert fresh.session.fast.weights is state.session.fast.weights
    begun = reader.learner.init().rule
    for slot, weights in fresh.session.fast.rule.items():
        for name, value in weights.items():
            assert torch.equal(value, begun[slot][name])
            assert not torch.equal(value, state.session.fast.rule[slot][name])
