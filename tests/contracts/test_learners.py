"""Every learner: predicts with the weights before, proposes purely, keeps sequences apart, refuses by identity."""

from dataclasses import replace

import pytest
import torch

from fastweights.core.state import Chunk, FastState, from_tensors, to_tensors
from fastweights.core.tree import leaves
from fastweights.core.unroll import unroll
from tests.contracts.learners import RULES, learner, random_chunk

LEARNERS = [(rule, steps) for rule in RULES for steps in (1, 3)]
pytestmark = pytest.mark.parametrize(("rule", "steps"), LEARNERS)


def _tensors(state: FastState) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in to_tensors(state).items()}


def _assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], exact: bool = True) -> None:
    assert a.keys() == b.keys()
    for key in a:
        if exact:
            assert torch.equal(a[key], b[key]), key
        else:
            torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-6, msg=key)


def test_propose_is_pure_and_deterministic(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    state = it.propose(it.init(2), random_chunk(2)).after
    kept = _tensors(state)
    one, two = it.propose(state, random_chunk(2, seed=1)), it.propose(state, random_chunk(2, seed=1))
    _assert_same(_tensors(state), kept)
    _assert_same(_tensors(one.after), _tensors(two.after))
    assert one.before is state
    assert one.after.step == state.step + 1


def test_loss_is_under_the_weights_before(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    state = it.propose(it.init(), random_chunk()).after
    chunk = random_chunk(seed=1)
    proposal = it.propose(state, chunk)
    assert torch.equal(proposal.output.loss_B, it.score(state, chunk))
    assert it.score(replace(proposal.after, carry=state.carry), chunk) < it.score(state, chunk)


def test_delta_is_the_whole_change_and_refusal_keeps_the_objects(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    state = it.init()
    proposal = it.propose(state, random_chunk())
    for name, weight in state.weights.items():
        torch.testing.assert_close(weight + proposal.delta[name], proposal.after.weights[name], rtol=0, atol=1e-7)
    assert proposal.refused.weights is state.weights
    assert proposal.refused.rule is state.rule
    assert proposal.refused.step == state.step
    _assert_same(dict(leaves(proposal.refused.carry)), dict(leaves(proposal.after.carry)))


def test_batched_equals_one_by_one(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    chunk = random_chunk(3)
    together = it.propose(it.init(3), chunk)
    for i in range(3):
        row = Chunk(chunk.tokens_BT[i : i + 1], chunk.targets_BT[i : i + 1], chunk.mask_BT[i : i + 1])
        alone = it.propose(it.init(1), row)
        for name in together.delta:
            torch.testing.assert_close(together.delta[name][i : i + 1], alone.delta[name], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(together.output.loss_B[i : i + 1], alone.output.loss_B)


def test_sequences_are_isolated(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    chunk = random_chunk(2)
    other = chunk._replace(targets_BT=chunk.targets_BT.clone(), tokens_BT=chunk.tokens_BT.clone())
    other.tokens_BT[1] = (other.tokens_BT[1] + 1) % 11
    other.targets_BT[1] = (other.targets_BT[1] + 1) % 11
    a, b = it.propose(it.init(2), chunk), it.propose(it.init(2), other)
    for name in a.delta:
        assert torch.equal(a.delta[name][0], b.delta[name][0])
        assert not torch.equal(a.delta[name][1], b.delta[name][1])


def test_prepared_chunk_gives_the_same_proposal(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    state, chunk = it.init(), random_chunk()
    _assert_same(
        _tensors(it.propose(state, chunk).after), _tensors(it.propose(state, it.prepare(chunk, state.carry)).after)
    )


def test_grad_is_the_derivative_of_score(rule: str, steps: int) -> None:
    it = learner(rule, steps, torch.float64)
    state, chunk = it.init(), random_chunk()
    grads = it.score_and_grad(state, chunk)[1]
    direction = {k: torch.ones_like(v) for k, v in state.weights.items()}
    epsilon = 1e-6
    up, down = (
        it.score(replace(state, weights={k: w + s * direction[k] for k, w in state.weights.items()}), chunk)
        for s in (epsilon, -epsilon)
    )
    slope = sum(g.sum() for g in grads.values())
    torch.testing.assert_close((up - down) / (2 * epsilon), torch.as_tensor(slope)[None], rtol=1e-6, atol=1e-8)


def test_state_survives_flattening(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    state = it.propose(it.init(), random_chunk()).after
    back = from_tensors(to_tensors(state), it.init())
    _assert_same(_tensors(back), _tensors(state))
    assert back.step == state.step
    chunk = random_chunk(seed=2)
    _assert_same(_tensors(it.propose(back, chunk).after), _tensors(it.propose(state, chunk).after))


def test_unroll_equals_proposing_by_hand(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    chunks = [random_chunk(2, seed=s) for s in range(3)]
    state, losses = it.init(2), []
    for chunk in chunks:
        proposal = it.propose(state, chunk)
        state = proposal.after
        losses.append(proposal.output.loss_B)
    last, loss_BC = unroll(it, it.init(2), chunks)
    _assert_same(_tensors(last), _tensors(state))
    assert torch.equal(loss_BC, torch.stack(losses, 1))


def test_later_chunks_cannot_change_earlier_losses(rule: str, steps: int) -> None:
    it = learner(rule, steps)
    first = random_chunk()
    _, a = unroll(it, it.init(), [first, random_chunk(seed=1)])
    _, b = unroll(it, it.init(), [first, random_chunk(seed=2)])
    assert torch.equal(a[:, 0], b[:, 0])
    assert not torch.equal(a[:, 1], b[:, 1])
