"""Recurrent fast weights as a learner: the model's own reading, refusals with eta = 0, gradients through W."""

import pytest
import torch
from torch import Tensor

from fastweights.core.state import Chunk, FastState, add, from_tensors, norm_B, to_tensors
from fastweights.core.tree import leaves
from fastweights.models.influence import influence_BT
from fastweights.models.recurrent_learner import WRITTEN, RecurrentLearner, StillDecoder
from fastweights.models.ttt_lm_decode import TTTDecoder
from tests.small_ttt import MIXERS, random_ttt

VOCAB = 20
every = pytest.mark.parametrize("variant", MIXERS)


def learner(variant: str, dtype: torch.dtype = torch.float64) -> RecurrentLearner:
    return RecurrentLearner(random_ttt(variant, vocab=VOCAB).to(dtype), bos=1)


def chunk(batch: int = 1, length: int = 7, seed: int = 0) -> Chunk:
    ids = torch.randint(3, VOCAB, (batch, length + 1), generator=torch.Generator().manual_seed(seed))
    return Chunk(ids[:, :-1], ids[:, 1:], torch.ones(batch, length, dtype=torch.bool))


def cut(piece: Chunk, rows: slice, times: slice) -> Chunk:
    return Chunk(piece.tokens_BT[rows, times], piece.targets_BT[rows, times], piece.mask_BT[rows, times])


def warm(it: RecurrentLearner, batch: int = 1) -> FastState:
    return it.propose(it.init(batch), chunk(batch, 9, seed=3)).after


def close(a: dict[str, Tensor], b: dict[str, Tensor], tight: float = 1e-9) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=tight, atol=tight, msg=name)


@every
def test_names_and_start(variant: str) -> None:
    it = learner(variant)
    state = it.init(3)
    own = dict(it.lm.named_parameters())
    for name, value in state.weights.items():
        assert torch.equal(value, own[name].expand_as(value))
        assert value.untyped_storage().data_ptr() != own[name].untyped_storage().data_ptr()
    assert {name.rpartition(".")[2] for name in state.weights} <= {"W1", "b1", "W2", "b2"}
    assert set(state.carry["last_B"].tolist()) == {1}


@every
def test_whole_chunks_are_the_models_own_reading(variant: str) -> None:
    it, ids = learner(variant), chunk(2, 16)
    state = it.init(2)
    for start, stop in ((0, 8), (8, 16)):
        piece = cut(ids, slice(None), slice(start, stop))
        state = it.propose(state, piece).after
    _, own = it.lm.hidden(ids.tokens_BT)
    close(it.lm_carry(state), own)


@every
def test_nothing_waits_outside_of_the_weights(variant: str) -> None:
    """A chunk that ends in the middle of the model's own: what it taught is in W, as its last token saw it."""
    it, first, then = learner(variant), chunk(length=6), chunk(length=3, seed=1)
    after = it.propose(it.init(), first).after
    _, own = it.lm.hidden(first.tokens_BT)
    want, _ = it.lm(then.tokens_BT, own, learn=False)  # the open chunk is still there, and is read
    got, _ = it.lm(then.tokens_BT, it.lm_carry(after), learn=False)
    torch.testing.assert_close(got, want)
    open_rows = [value for name, value in it.lm_carry(after).items() if name.rpartition(".")[2][0] in "au"]
    assert open_rows
    assert not any(bool(value.any()) for value in open_rows)


@every
def test_proposals(variant: str) -> None:
    it, piece = learner(variant), chunk(2)
    state = warm(it, 2)
    kept = {name: value.clone() for name, value in to_tensors(state).items()}
    one, two = it.propose(state, piece), it.propose(state, piece)
    for name, value in to_tensors(state).items():
        assert torch.equal(value, kept[name]), name
    for name, value in to_tensors(one.after).items():
        assert torch.equal(value, to_tensors(two.after)[name]), name
    close(dict(add(state.weights, one.delta)), dict(one.after.weights))
    assert bool((norm_B(one.delta) > 0).all())
    assert one.grads is None
    assert (one.after.step, one.refused.step) == (state.step + 1, state.step)
    torch.testing.assert_close(one.output.loss_B, it.score(state, piece))
    torch.testing.assert_close(one.output.loss_B, it.score_and_grad(state, piece)[0])
    for b in range(2):  # sequences do not see each other
        alone = FastState(
            {name: w[b : b + 1] for name, w in state.weights.items()},
            {},
            {"lm": {n: t[b : b + 1] for n, t in state.carry["lm"].items()}, "last_B": state.carry["last_B"][b : b + 1]},
        )
        own = it.propose(alone, cut(piece, slice(b, b + 1), slice(None)))
        for name, value in own.after.weights.items():
            torch.testing.assert_close(value[0], one.after.weights[name][b])


@every
def test_a_refusal_reads_on_with_eta_0(variant: str) -> None:
    it, piece = learner(variant), chunk()
    state = warm(it)
    refused = it.propose(state, piece).refused
    assert refused.weights is state.weights
    assert refused.rule is state.rule
    logits, carry = it.lm(piece.tokens_BT, it.lm_carry(state), learn=False)
    close(it.lm_carry(refused), carry)
    still = StillDecoder(it.lm)
    still.load(it.lm_carry(state))
    for t, token in enumerate(piece.tokens_BT[0].tolist()):
        torch.testing.assert_close(torch.from_numpy(still.logits(still.step(token))), logits[0, t].float())
    close(it.lm_carry(refused), still.carry())
    skimmed = it.skim(state.weights, piece, state.carry)
    for (name, value), (_, other) in zip(leaves(refused.carry), leaves(skimmed), strict=True):
        assert torch.equal(value, other), name


@every
def test_gradients_through_every_w(variant: str) -> None:
    it, piece = learner(variant), chunk(2)
    state = warm(it, 2)
    _, grads = it.score_and_grad(state, piece)
    gen = torch.Generator().manual_seed(0)
    for name, grad in grads.items():
        direction = torch.randn(grad.shape, generator=gen, dtype=grad.dtype)
        up, down = (
            it.score(
                FastState({**state.weights, name: state.weights[name] + s * 1e-6 * direction}, {}, state.carry), piece
            )
            for s in (1, -1)
        )
        slope = (grad * direction).flatten(1).sum(1)
        torch.testing.assert_close((up - down) / 2e-6, slope, rtol=1e-4, atol=1e-8, msg=name)


@every
def test_what_a_decoder_wrote(variant: str) -> None:
    """The write of a reply is what the decoder made; for a model that decodes as it reads, that of the same chunk."""
    it, piece = learner(variant, torch.float32), chunk()
    state = warm(it)
    decoder = TTTDecoder(it.lm)
    decoder.load(it.lm_carry(state))
    for token in piece.tokens_BT[0].tolist():
        decoder.step(token)
    carry = decoder.carry()
    written = it.propose(state, piece._replace(inputs={WRITTEN: carry}))
    read = it.propose(state, piece)
    assert torch.equal(written.output.loss_B, read.output.loss_B)
    close(to_tensors(written.refused), to_tensors(read.refused))
    if variant == "lab":  # online: a step at each token's own weights
        close({n: carry[n.replace(".mixer", "")] for n in state.weights}, dict(written.after.weights), 1e-6)
    else:
        close(to_tensors(read.after), to_tensors(written.after), 1e-4)


@every
def test_flat_and_back(variant: str) -> None:
    it = learner(variant, torch.float32)
    state = warm(it)
    back = from_tensors(to_tensors(state), it.init())
    close(to_tensors(back), to_tensors(state), 0)
    names = {name.partition("/")[0] for name in to_tensors(state)}
    assert names == {"weights", "carry", "step"}


@every
def test_influence(variant: str) -> None:
    it, piece = learner(variant), chunk()
    state = warm(it)
    values_BT = influence_BT(it, state.weights, piece, state.carry)
    assert values_BT.shape == (1, 7)
    assert bool((values_BT > 0).all())
