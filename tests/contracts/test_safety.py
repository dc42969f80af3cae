"""Every system × every aspect of safety, through ``Guard.step`` and the parts that its service builds.

A system that lacks an aspect says why in its entry; nothing is skipped silently.
"""

import math
from functools import cache

import pytest
import torch

from fastweights.core.state import dot_B, norm_B
from fastweights.core.tree import leaves
from fastweights.guard.guard import Outcome
from fastweights.guard.policy import AuditPolicy, DriftPolicy, Policy
from fastweights.guard.state import Session
from fastweights.redteam.target import without
from tests.contracts.safety import ASPECTS, README, SYSTEMS, Built, in_readme

OFF = without(Policy(), "all")
_REPEATS = 12


def build(name: str, policy: Policy, inner_steps: int = 1) -> Built:
    return SYSTEMS[name].build(policy, inner_steps)


def begin(built: Built) -> Session:
    return built.guard.begin(built.learner, built.learner.init())


def warm(name: str, inner_steps: int = 1) -> Session:
    """A session that has learned a little, so that its rule has a state worth restoring."""
    built = build(name, OFF, inner_steps)
    session = begin(built)
    for chunk in built.inputs[:2]:
        session = built.guard.step(built.learner, session, chunk).session
    assert session.fast.step == 2
    return session


@cache
def harmful(name: str) -> tuple[int, float]:
    """The input that raises a canary most where nothing is guarded, and by how much (nats)."""
    built = build(name, OFF)
    session = begin(built)
    rises = [built.guard.step(built.learner, session, chunk).event.canary_delta or 0.0 for chunk in built.inputs]
    worst = max(range(len(rises)), key=rises.__getitem__)
    assert rises[worst] > 0
    return worst, rises[worst]


def unchanged(before: Session, outcome: Outcome) -> None:
    assert not outcome.committed
    assert outcome.session.fast.weights is before.fast.weights
    assert outcome.session.fast.rule is before.fast.rule
    assert outcome.session.fast.step == before.fast.step
    assert outcome.event.update_norm == 0
    figures = (outcome.event.loss, outcome.event.attempted_update_norm, outcome.event.canary_delta)
    assert all(value is not None and math.isfinite(value) for value in figures)  # refused, and measured all the same


def input_gate(name: str) -> None:
    built, session = build(name, Policy()), warm(name)
    assert built.forbidden is not None
    outcome = built.guard.step(built.learner, session, built.forbidden)
    assert outcome.event.decision == "blocked"
    unchanged(session, outcome)
    open_ = build(name, OFF)
    assert open_.guard.step(open_.learner, session, built.forbidden).committed


def projection(name: str) -> None:
    built = build(name, without(Policy(), "gate+audit+cusum+drift"))
    at, bare = harmful(name)
    outcome = built.guard.step(built.learner, begin(built), built.inputs[at])
    evidence = outcome.evidence
    assert outcome.committed
    assert evidence.proposal is not None
    assert evidence.canary_grads is not None
    assert (outcome.event.projected_fraction or 0) > 0
    delta, grads = evidence.proposal.delta, evidence.canary_grads
    slopes = dot_B(delta, grads)
    assert bool((slopes <= 1e-5 * norm_B(grads) * norm_B(delta)).all()), slopes
    assert (outcome.event.canary_delta or 0) < bare


def audit(name: str) -> None:
    at, bare = harmful(name)
    policy = without(Policy(), "gate+cusum+drift+spfw").model_copy(update={"audit": AuditPolicy(max_delta=bare / 2)})
    built = build(name, policy)
    session = begin(built)
    outcome = built.guard.step(built.learner, session, built.inputs[at])
    assert outcome.event.decision == "rolled_back"
    assert "rose by" in outcome.event.reasons[0]
    unchanged(session, outcome)


def rollback(name: str) -> None:
    for inner_steps in (1, 3):
        session = warm(name, inner_steps)
        strict = without(Policy(), "gate+cusum+drift+spfw").model_copy(update={"audit": AuditPolicy(max_delta=1e-12)})
        built, bare = build(name, strict, inner_steps), build(name, OFF, inner_steps)
        refused = next(
            (chunk, outcome)
            for chunk in built.inputs
            if not (outcome := built.guard.step(built.learner, session, chunk)).committed
        )
        chunk, outcome = refused
        unchanged(session, outcome)
        proposal = bare.learner.propose(session.fast, chunk)
        carries = (dict(leaves(one.carry)) for one in (outcome.session.fast, proposal.refused))
        one, other = carries
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)  # the reader went on
        assert outcome.session.guard.deltas == session.guard.deltas


def drift(name: str) -> None:
    at, bare = harmful(name)
    budget = 1.5 * bare
    policy = without(Policy(), "gate+audit+cusum+spfw").model_copy(update={"drift": DriftPolicy(budget=budget)})
    worst = {}
    for one in (policy, OFF):
        built = build(name, one)
        session, worst[one.name] = begin(built), 0.0
        for _ in range(_REPEATS):
            session = built.guard.step(built.learner, session, built.inputs[at]).session
            rises = (session.guard.current[key] - session.guard.origin[key] for key in session.guard.origin)
            worst[one.name] = max(worst[one.name], *rises)
    assert worst[policy.name] <= budget < worst[OFF.name]


TESTS = dict(zip(ASPECTS, (input_gate, projection, audit, rollback, drift), strict=True))


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_safety(name: str, aspect: str) -> None:
    if aspect in SYSTEMS[name].without:
        assert build(name, Policy()).forbidden is None  # it does not apply; the matrix says why
        return
    TESTS[aspect](name)


def test_the_readme_shows_this_matrix() -> None:
    text = README.read_text(encoding="utf-8")
    assert text == in_readme(text), "run: python scripts/safety_matrix.py"
