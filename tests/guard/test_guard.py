"""The transaction: one event a call, refusals by identity, every figure measured whatever the decision."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from fastweights.core.learner import GradientLearner, InnerOutput, Proposal
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, Weights
from fastweights.guard.canaries import Canaries, largest_rise, token_rows
from fastweights.guard.checks import cusums_after
from fastweights.guard.event import Event
from fastweights.guard.evidence import Evidence, Stage, Verdict
from fastweights.guard.guard import Guard, Outcome
from fastweights.guard.mode import Mode
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, Policy, SpfwPolicy
from fastweights.guard.state import GuardState, Session
from fastweights.guard.stream import read
from tests.contracts.learners import RULES, TinyModel, learner, random_chunk

NO_SPFW, NO_CUSUM = SpfwPolicy(mode="off"), CusumPolicy(mode="off")
LAX = Policy(audit=AuditPolicy(mode="off"), drift=DriftPolicy(mode="off"), cusum=NO_CUSUM, spfw=NO_SPFW)


def _canaries(it: GradientLearner) -> Canaries:
    return Canaries.prepare(it, ("a", "b"), token_rows([[1, 2, 3, 4, 5], [5, 4, 3]], bos=0))


def _gradients(canaries: Canaries, it: GradientLearner, weights: Weights) -> Weights:
    return canaries.measure(it, weights).grads


def _begin(policy: Policy, rule: str = "sgd") -> tuple[GradientLearner, Guard, Session]:
    it = learner(rule)
    guard = Guard(policy, _canaries(it))
    return it, guard, guard.begin(it, it.init())


def test_canaries_in_one_batch_equal_one_by_one() -> None:
    it = learner("sgd")
    weights = it.propose(it.init(), random_chunk()).after.weights
    together = _canaries(it).measure(it, weights).losses
    gradients = _gradients(_canaries(it), it, weights)
    for i, (name, row) in enumerate((("a", [1, 2, 3, 4, 5]), ("b", [5, 4, 3]))):
        alone = Canaries.prepare(it, (name,), token_rows([row], bos=0))
        assert together[name] == pytest.approx(alone.measure(it, weights).losses[name], rel=1e-5)
        for key, gradient in _gradients(alone, it, weights).items():
            torch.testing.assert_close(gradients[key][i : i + 1], gradient, rtol=1e-4, atol=1e-6)


def test_a_commit_equals_the_proposal_and_reports_it() -> None:
    it, guard, session = _begin(LAX)
    chunk = random_chunk()
    outcome = guard.step(it, session, chunk)
    proposal = it.propose(session.fast, chunk)
    event = outcome.event
    assert outcome.committed
    assert event.decision == "committed"
    for name, weight in proposal.after.weights.items():
        assert torch.equal(outcome.session.fast.weights[name], weight)
    assert event.loss == pytest.approx(it.score(session.fast, chunk).item())
    after = replace(outcome.session.fast, carry=session.fast.carry)
    assert event.loss_after == pytest.approx(it.score(after, chunk).item())
    assert event.update_norm == event.attempted_update_norm
    assert event.update_norm > 0
    assert (event.chunk_index, event.token_start, event.token_end, event.step) == (0, 0, 7, 1)
    assert [c.name for c in event.canaries] == ["a", "b"]
    assert event.drift == pytest.approx(max(c.drift for c in event.canaries if c.drift is not None))


@pytest.mark.parametrize("rule", RULES)
def test_a_refusal_keeps_the_same_objects_and_measures_everything(rule: str) -> None:
    it, guard, session = _begin(
        Policy(audit=AuditPolicy(max_delta=1e-9, max_z=1e9), cusum=NO_CUSUM, spfw=NO_SPFW), rule
    )
    outcome = next(o for o in read(guard, it, session, (random_chunk(seed=s) for s in range(20))) if not o.committed)
    before = outcome.session
    again = guard.step(it, before, random_chunk(seed=99))
    assert {o.event.decision for o in (outcome, again)} <= {"rolled_back", "committed"}
    refused = outcome.event
    assert refused.decision == "rolled_back"
    assert refused.update_norm == 0
    for figure in (refused.loss, refused.loss_after, refused.grad_norm, refused.attempted_update_norm, refused.drift):
        assert figure is not None
        assert math.isfinite(figure)
    assert refused.canary_delta is not None
    assert refused.canary_delta > 0
    assert "rose by" in refused.reasons[0]


def test_refused_objects_are_the_very_same() -> None:
    it, guard, session = _begin(LAX, "sgd-momentum")
    session = guard.step(it, session, random_chunk()).session
    refuse = Guard(LAX, guard.canaries, checks=[Always("input")])
    outcome = refuse.step(it, session, random_chunk(seed=1))
    assert outcome.event.decision == "blocked"
    assert outcome.session.fast.weights is session.fast.weights
    assert outcome.session.fast.rule is session.fast.rule
    assert outcome.session.fast.step == session.fast.step
    assert not torch.equal(outcome.session.fast.carry["average"], session.fast.carry["average"])
    assert outcome.session.guard.deltas == session.guard.deltas
    assert outcome.session.guard.chunks == session.guard.chunks + 1
    assert outcome.event.loss == pytest.approx(outcome.event.loss_after)


@dataclass(frozen=True)
class Always:
    """Refuses everything at its stage."""

    stage: Stage
    mode: Mode = "enforce"
    name: str = "always"

    def __call__(self, evidence: Evidence) -> Verdict:
        known = {
            "input": evidence.proposal is None,
            "proposal": evidence.proposal is not None and not evidence.after,
            "candidate": bool(evidence.after),
        }
        assert known[self.stage], "a stage sees exactly what is known by then"
        return Verdict(False, ("always",), {"n": 1.0})


@pytest.mark.parametrize(
    ("stage", "decision"), [("input", "blocked"), ("proposal", "blocked"), ("candidate", "rolled_back")]
)
@pytest.mark.parametrize("mode", ["off", "observe", "enforce"])
def test_modes_decide_but_never_change_what_is_measured(stage: Stage, decision: str, mode: Mode) -> None:
    it, guard, session = _begin(LAX)
    plain = guard.step(it, session, random_chunk()).event
    event = Guard(LAX, guard.canaries, [Always(stage, mode)]).step(it, session, random_chunk()).event
    assert event.decision == (decision if mode == "enforce" else "committed")
    assert event.reasons == (["always"] if mode == "enforce" else [])
    mine = [c for c in event.checks if c.check == "always"]
    assert [c.mode for c in mine] == ([] if mode == "off" else [mode])
    same = ("loss", "grad_norm", "attempted_update_norm", "canary_delta", "canaries")
    assert all(getattr(plain, key) == getattr(event, key) for key in same)


class Poisoned:
    """TinyModel with one number made NaN on demand."""

    def __init__(self, where: str) -> None:
        self.inner, self.where = TinyModel(), where

    def init_weights(self, batch: int) -> Weights:
        return self.inner.init_weights(batch)

    def init_carry(self, batch: int) -> Any:
        return self.inner.init_carry(batch)

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        features = self.inner.encode(chunk, carry)
        if self.where == "carry" and chunk.targets_BT.shape[0] == 1:
            features["h_BTD"] = features["h_BTD"] * float("nan")
            features["carry"] = {"average": features["carry"]["average"] * float("inf") * 0}
        return features

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        output = self.inner.forward(weights, features, chunk, carry)
        if self.where == "canary" and chunk.targets_BT.shape[0] == 2:
            written = (weights["bias"] != self.init_weights(2)["bias"]).any()
            return InnerOutput(output.loss_B * torch.where(written, float("nan"), 1.0), output.carry)
        if self.where == "gradient" and chunk.targets_BT.shape[0] == 1:
            zero = weights["bias"].sum() * 0
            return InnerOutput(output.loss_B + torch.sqrt(zero), output.carry)  # finite value, infinite slope
        return output


@dataclass(frozen=True)
class NanRule:
    """Proposes NaN, infinity, or something so large that its norm overflows."""

    value: float

    def init(self, weights: Weights) -> Mapping[str, Weights]:
        return {}

    def delta(self, grads: Weights, rule: Any, weights: Weights) -> tuple[Weights, Any]:
        return {k: torch.full_like(w, self.value) for k, w in weights.items()}, rule


@pytest.mark.parametrize(
    ("it", "decision"),
    [
        (GradientLearner(Poisoned("gradient"), SGD()), "blocked"),
        (GradientLearner(Poisoned("carry"), SGD()), "blocked"),
        (GradientLearner(TinyModel(), NanRule(float("nan"))), "blocked"),
        (GradientLearner(TinyModel(), NanRule(float("inf"))), "blocked"),
        (GradientLearner(TinyModel(), NanRule(3e38)), "blocked"),
        (GradientLearner(Poisoned("canary"), SGD()), "rolled_back"),
    ],
)
@pytest.mark.parametrize("policy", [LAX, Policy(), Policy(spfw=NO_SPFW)])
def test_non_finite_always_blocks(it: GradientLearner, decision: str, policy: Policy) -> None:
    guard = Guard(policy, _canaries(it))
    session = guard.begin(it, it.init())
    outcome = guard.step(it, session, random_chunk())
    assert outcome.event.decision == decision
    assert "finite" in " ".join(outcome.event.reasons)
    assert outcome.session.fast.weights is session.fast.weights
    assert all(bool(torch.isfinite(w).all()) for w in outcome.session.fast.weights.values())
    assert bool(torch.isfinite(outcome.session.fast.carry["average"]).all())
    Event.model_validate_json(outcome.event.model_dump_json())
    assert "NaN" not in outcome.event.model_dump_json()


def test_absolute_and_z_rules_fire_on_the_candidate() -> None:
    it, guard, session = _begin(LAX)
    outcomes = list(read(guard, it, session, (random_chunk(seed=s) for s in range(12))))
    history = outcomes[-1].session
    assert len(history.guard.deltas) == 12
    strict = Guard(
        Policy(
            audit=AuditPolicy(max_delta=100, max_z=0.5, spread_floor=1e-9),
            drift=DriftPolicy(mode="off"),
            cusum=NO_CUSUM,
            spfw=NO_SPFW,
        ),
        guard.canaries,
    )
    events = [strict.step(it, history, random_chunk(seed=s)).event for s in range(40)]
    assert {e.decision for e in events} == {"committed", "rolled_back"}
    for event in events:
        assert event.canary_delta_z is not None
        assert (event.decision == "rolled_back") == (event.canary_delta_z > 0.5)


def test_drift_is_against_the_origin_and_bounded_however_small_the_steps() -> None:
    it, _, _ = _begin(LAX)
    budget = 0.05
    guard = Guard(
        Policy(audit=AuditPolicy(mode="off"), drift=DriftPolicy(budget=budget), cusum=NO_CUSUM, spfw=NO_SPFW),
        _canaries(it),
    )
    session = guard.begin(it, it.init())
    chunk = Chunk(
        torch.tensor([[1, 2, 3]]), torch.tensor([[9, 9, 9]]), torch.ones(1, 3, dtype=torch.bool)
    )  # contradicts both canaries
    outcomes = list(read(guard, it, session, [chunk] * 60))
    assert any(o.event.decision == "rolled_back" for o in outcomes)
    assert all((o.event.drift or 0) <= budget for o in outcomes)
    for o in outcomes:
        now = guard.canaries.measure(it, o.session.fast.weights).losses  # type: ignore[union-attr]
        assert o.event.drift == pytest.approx(largest_rise(now, session.guard.origin), abs=1e-6)


def test_cusum_adds_up_small_rises_and_lets_harmless_writes_pass() -> None:
    it, _, _ = _begin(LAX)
    slack, limit = 0.0005, 0.02
    policy = LAX.model_copy(update={"cusum": CusumPolicy(slack=slack, limit=limit)})
    guard = Guard(policy, _canaries(it))
    harm = Chunk(torch.tensor([[1, 2, 3]]), torch.tensor([[9, 9, 9]]), torch.ones(1, 3, dtype=torch.bool))
    outcomes = list(read(guard, it, guard.begin(it, it.init()), [harm] * 30))
    refused = [o for o in outcomes if not o.committed]
    assert refused
    assert all("add up to" in o.event.reasons[0] for o in refused)
    total = 0.0
    for o in outcomes:
        if o.committed:
            total = max(0.0, total + (o.event.canary_delta or 0) - slack)
        assert o.event.cusum == pytest.approx(total, abs=1e-6)
        assert o.event.cusum <= limit
    kind = Chunk(*_canaries(it).chunk[:3])  # the canaries themselves: learning them lowers every canary
    one = Chunk(kind.tokens_BT[:1], kind.targets_BT[:1], kind.mask_BT[:1])
    assert guard.step(it, outcomes[-1].session, one).committed


def test_alignment_has_the_sign_that_lowers_canaries() -> None:
    """cos > 0 means that a small SGD step on the chunk lowers the mean canary loss, cos < 0 that it raises it."""
    it, guard, session = _begin(LAX)
    small = GradientLearner(it.model, SGD(lr=1e-3))
    signs = set()
    for seed in range(30):
        event = guard.step(small, session, random_chunk(seed=seed)).event
        assert event.grad_canary_cos is not None
        change = sum(c.delta or 0 for c in event.canaries)
        if abs(event.grad_canary_cos) > 0.02:
            assert (change < 0) == (event.grad_canary_cos > 0)
            signs.add(change < 0)
        expected = event.grad_canary_cos * (event.grad_norm or 0) * (event.canary_grad_norm or 0)
        assert event.grad_canary_dot == pytest.approx(expected, rel=1e-4, abs=1e-8)
    assert signs == {True, False}


def test_the_tail_is_the_end_of_what_was_read() -> None:
    it, guard, session = _begin(LAX)
    texts = ["a" * 300, "b" * 300, "c"]
    *_, last = read(guard, it, session, (random_chunk(seed=i)._replace(text=t) for i, t in enumerate(texts)))
    assert last.session.guard.tail == "".join(texts)[-512:]


def test_a_write_that_lowers_the_drift_passes_over_the_budget() -> None:
    it, guard, session = _begin(LAX)
    low = {name: value - 5 for name, value in session.guard.origin.items()}
    over = Session(session.fast, replace(session.guard, origin=low))
    strict = Guard(
        Policy(audit=AuditPolicy(mode="off"), drift=DriftPolicy(budget=1.0), cusum=NO_CUSUM, spfw=NO_SPFW),
        guard.canaries,
    )
    decisions = {}
    for seed in range(30):
        event = strict.step(it, over, random_chunk(seed=seed)).event
        assert event.canary_delta is not None
        decisions[event.decision] = decisions.get(event.decision, 0) + 1
        rise = max(c.drift or 0 for c in event.canaries)
        before = max(over.guard.current[n] - low[n] for n in low)
        assert (event.decision == "committed") == (rise < before)
    assert decisions.keys() == {"committed", "rolled_back"}


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_spfw_through_the_guard(mode: Mode) -> None:
    it, guard, session = _begin(LAX)
    projecting = Guard(LAX.model_copy(update={"spfw": SpfwPolicy(mode=mode)}), guard.canaries)
    assert guard.canaries is not None
    fractions = []
    for seed in range(10):
        chunk = random_chunk(seed=seed)
        plain, outcome = guard.step(it, session, chunk), projecting.step(it, session, chunk)
        fraction = outcome.event.projected_fraction
        assert fraction is not None
        fractions.append(fraction)
        delta = {k: outcome.session.fast.weights[k] - w for k, w in session.fast.weights.items()}
        slopes = [
            sum(
                (g[i] * delta[k][0]).sum().item()
                for k, g in _gradients(guard.canaries, it, session.fast.weights).items()
            )
            for i in range(2)
        ]
        if mode == "enforce":
            assert max(slopes) <= 1e-5
            assert outcome.event.update_norm <= (outcome.event.attempted_update_norm or 0) + 1e-6
        else:
            assert _same_weights(plain, outcome)
    assert max(fractions) > 0


def _same_weights(a: Outcome, b: Outcome) -> bool:
    return all(torch.equal(w, b.session.fast.weights[k]) for k, w in a.session.fast.weights.items())


def test_spfw_shortens_what_the_first_order_does_not_see() -> None:
    """A step so long that canaries rise although no slope is positive: it is shortened, not refused."""
    it = learner("sgd")
    long = GradientLearner(TinyModel(), SGD(lr=0.05))
    most = 0.02
    off, on = (Guard(LAX.model_copy(update={"spfw": SpfwPolicy(max_rise=r)}), _canaries(it)) for r in (1e9, most))
    session, shortened = on.begin(long, long.init()), 0
    for seed in range(12):
        chunk = random_chunk(seed=seed)
        whole, outcome = off.step(long, session, chunk).event, on.step(long, session, chunk).event
        assert outcome.decision == "committed"
        assert whole.canary_delta is not None
        assert outcome.canary_delta is not None
        if whole.canary_delta > most:
            shortened += 1
            assert outcome.canary_delta <= most
            assert 0.05 * whole.update_norm <= outcome.update_norm < whole.update_norm
            assert (outcome.projected_fraction or 0) > (whole.projected_fraction or 0)
        else:
            assert outcome.update_norm == whole.update_norm
    assert shortened


def test_a_step_that_is_far_too_long_is_left_to_the_audit() -> None:
    """Shortening ends at a twentieth: a rate that wrecks the model is refused, not tamed."""
    long = GradientLearner(TinyModel(), SGD(lr=3000.0))
    policy = Policy(audit=AuditPolicy(max_delta=0.1), cusum=NO_CUSUM, drift=DriftPolicy(mode="off"))
    guard = Guard(policy, _canaries(long))
    event = guard.step(long, guard.begin(long, long.init()), random_chunk()).event
    assert event.decision == "rolled_back"


def test_a_sum_for_each_canary_and_sessions_from_when_there_was_one() -> None:
    before, after = {"a": 1.0, "b": 2.0}, {"a": 1.3, "b": 1.9}
    assert cusums_after({"a": 0.1}, before, after, 0.05) == pytest.approx({"a": 0.35, "b": 0.0})
    assert cusums_after({"a": 0.1}, before, {"a": math.nan, "b": 2.0}, 0.05) == {"a": 0.1, "b": 0.0}
    old = {**GuardState(current=before).to_json(), "cusum": 0.25}
    assert GuardState.from_json(old).cusum == {"a": 0.25, "b": 0.25}


def test_guard_state_survives_json() -> None:
    it, guard, session = _begin(Policy(audit=AuditPolicy(max_delta=100, max_z=1e9), spfw=NO_SPFW))
    *_, last = read(guard, it, session, (random_chunk(seed=s) for s in range(10)))
    import json

    back = GuardState.from_json(json.loads(json.dumps(last.session.guard.to_json())))
    assert back == last.session.guard
    chunk = random_chunk(seed=50)
    assert guard.step(it, Session(last.session.fast, back), chunk).event == guard.step(it, last.session, chunk).event


def test_new_canaries_are_measured_and_join_the_origin() -> None:
    it, guard, session = _begin(LAX)
    session = guard.step(it, session, random_chunk()).session
    other = Guard(LAX, Canaries.prepare(it, ("c",), token_rows([[7, 7]], bos=0)))
    outcome = other.step(it, session, random_chunk(seed=1))
    assert [c.name for c in outcome.event.canaries] == ["c"]
    assert outcome.event.canaries[0].delta == pytest.approx(outcome.event.drift)


def test_without_canaries_nothing_is_audited() -> None:
    it = learner("sgd")
    guard = Guard(Policy())
    outcome = guard.step(it, guard.begin(it, it.init()), random_chunk())
    assert outcome.committed
    assert outcome.event.canaries == []
    assert outcome.event.drift is None


def test_a_batch_is_refused_at_the_door() -> None:
    it, guard, session = _begin(LAX)
    with pytest.raises(ValueError, match="reads one sequence, the chunk has 2"):
        guard.step(it, session, random_chunk(2))


@pytest.mark.parametrize("rows", [[], [[1], []]])
def test_an_empty_canary_is_an_error(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="canary is empty"):
        token_rows(rows, bos=0)


def test_proposals_do_not_reach_the_session_while_refused() -> None:
    """A whole run of refusals leaves the weights bit for bit."""
    it, guard, session = _begin(LAX)
    refuse = Guard(LAX, guard.canaries, [Always("candidate")])
    *_, last = read(refuse, it, session, (random_chunk(seed=s) for s in range(10)))
    assert last.session.fast.weights is session.fast.weights
    assert last.session.guard.current == session.guard.current
    assert isinstance(it.propose(session.fast, random_chunk()), Proposal)
