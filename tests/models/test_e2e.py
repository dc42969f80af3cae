"""The TTT-E2E transformer: causal to the bit, sequences apart, exact outer gradients through two suffix blocks."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fastweights.core.state import Chunk, FastState
from fastweights.core.unroll import unroll
from fastweights.errors import FastweightsError
from fastweights.models.decoding import decoder_for
from fastweights.models.e2e import E2EReader, E2ETransformer, e2e_learner
from fastweights.models.e2e_config import E2EConfig, parameters
from fastweights.models.e2e_decode import E2EDecoder
from fastweights.train.meta import fresh_chunks, meta_loss, read_adapting
from fastweights.train.meta_config import MetaConfig

VOCAB, CHUNK, CHUNKS = 13, 4, 3
ALL = "suffix_blocks,ln_f,head"


def _lm(words: str = "feed_forward_prime", *, dtype: torch.dtype = torch.float64, **changes: Any) -> E2ETransformer:
    torch.manual_seed(0)
    inner = {"chunk": CHUNK, "lr": 0.5, "clip": 1.0, "ttt_param_filter": words, "learned_rates": True}
    fields = {"vocab_size": VOCAB, "dim": 8, "heads": 2, "layers": 3, "suffix_layers": 2, "window": 5}
    hidden = {"mlp_hidden": 12, "prime_hidden": 10, "init_std": 0.4}
    return E2ETransformer(E2EConfig.model_validate({**fields, **hidden, "inner": inner, **changes})).to(dtype)


def _text(batch: int = 2, chunks: int = CHUNKS) -> tuple[Tensor, Tensor]:
    ids = torch.randint(VOCAB, (batch, chunks * CHUNK + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("words", ["feed_forward_prime", ALL])
def test_later_tokens_change_no_earlier_loss(words: str) -> None:
    lm, (x, y) = _lm(words, dtype=torch.float32), _text()
    logits, _ = read_adapting(lm, x, y)
    for place in (1, CHUNK, 2 * CHUNK - 1, 2 * CHUNK + 1):
        other_x, other_y = x.clone(), y.clone()
        other_x[:, place:], other_y[:, place:] = (x[:, place:] + 1) % VOCAB, (y[:, place:] + 1) % VOCAB
        changed, _ = read_adapting(lm, other_x, other_y)
        assert torch.equal(changed[:, :place], logits[:, :place])
        assert not torch.equal(changed[:, place:], logits[:, place:])


@pytest.mark.parametrize("words", ["feed_forward_prime", ALL])
def test_sequences_learn_apart(words: str) -> None:
    lm, (x, y) = _lm(words), _text(3)
    together, _ = read_adapting(lm, x, y)
    for i in range(3):
        alone, _ = read_adapting(lm, x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("words", ["feed_forward_prime", ALL])
def test_weights_of_their_own_equal_vmap_over_sequences(words: str) -> None:
    lm, (x, _) = _lm(words), _text(3)
    gen = torch.Generator().manual_seed(2)
    reader = E2EReader(lm, 0)
    weights = {
        name: w + 0.1 * torch.randn(w.shape, generator=gen, dtype=w.dtype) for name, w in reader.init_weights(3).items()
    }
    x_BTD, _ = lm.stem(x, None)
    features = {"x_BTD": x_BTD, "stem": {}, "position_B": torch.zeros(3, dtype=torch.int64)}
    batched, _ = reader.read(weights, features, {"suffix": {}})

    def one(own: dict[str, Tensor], x_TD: Tensor, position: Tensor) -> Tensor:
        return functional_call(reader._suffix, own, (x_TD[None], None, position[None]))[0][0]

    torch.testing.assert_close(vmap(one)(weights, x_BTD, features["position_B"]), batched, rtol=1e-12, atol=1e-12)


def _outer(lm: E2ETransformer, **meta: Any) -> Tensor:
    return meta_loss(lm, *_text(), MetaConfig.model_validate(meta))


@pytest.mark.parametrize("words", ["feed_forward_prime", ALL])
def test_the_outer_gradient_is_that_of_finite_differences(words: str) -> None:
    lm = _lm(words)
    named = dict(lm.named_parameters())
    exact = dict(zip(named, torch.autograd.grad(_outer(lm), list(named.values())), strict=True))
    gen, step = torch.Generator().manual_seed(3), 1e-4
    direction = {name: torch.randn(p.shape, generator=gen, dtype=p.dtype) for name, p in named.items()}

    def slope(size: float) -> float:
        losses = []
        for side in (size, -size):
            moved = {name: p.detach() + side * direction[name] for name, p in named.items()}
            other = _lm(words)
            other.load_state_dict(moved)
            losses.append(float(_outer(other).detach()))
        return (losses[0] - losses[1]) / (2 * size)

    measured = (4 * slope(step / 2) - slope(step)) / 3
    computed = sum(float((exact[name] * d).sum()) for name, d in direction.items())
    assert measured == pytest.approx(computed, rel=1e-6)
    assert exact["inner_log_rates"].abs().min() > 0


def test_rematerialised_equals_plain_and_first_order_does_not() -> None:
    lm = _lm()
    params = list(lm.parameters())
    plain, again, first = (
        torch.autograd.grad(_outer(lm, **how), params) for how in ({}, {"remat": True}, {"first_order": True})
    )
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    assert float(_outer(lm).detach()) == pytest.approx(float(_outer(lm, first_order=True).detach()), rel=1e-14)
    assert max(float((a - b).abs().max()) for a, b in zip(plain, first, strict=True)) > 1e-3


def test_the_prefix_read_once_equals_chunk_after_chunk() -> None:
    """As a session reads: each chunk with the windows carried, from the learner's own first state."""
    lm, (x, y) = _lm(), _text()
    learner = e2e_learner(lm, 0)
    assert isinstance(learner.model, E2EReader)
    whole, chunks = fresh_chunks(learner.model, x, y)
    _, at_once = unroll(learner, whole, chunks)
    mask = torch.ones(2, CHUNK, dtype=torch.bool)
    pieces = [Chunk(a, b, mask) for a, b in zip(x.split(CHUNK, 1), y.split(CHUNK, 1), strict=True)]
    state, carried = unroll(learner, learner.init(2), pieces)
    torch.testing.assert_close(carried, at_once, rtol=1e-10, atol=1e-12)
    assert int(state.carry["stem"]["position"][0]) == x.shape[1]
    assert all(not t.requires_grad for t in state.weights.values())


def test_read_as_a_module_nothing_is_learned_and_pieces_equal_the_whole() -> None:
    lm, (x, y) = _lm(), _text()
    whole, _ = lm(x)
    first, carry = lm(x[:, :5])
    second, _ = lm(x[:, 5:], carry)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-10, atol=1e-12)
    still, _ = read_adapting(lm, x, y, updates=False)
    torch.testing.assert_close(still, whole, rtol=1e-10, atol=1e-12)


def test_what_is_forgotten() -> None:
    lm, (x, y) = _lm(suffix_layers=1), _text()  # no attention above fast weights, whose keys would remember
    _, never = read_adapting(lm, x, y)
    _, off = read_adapting(lm, x, y, updates=False)
    _, second = read_adapting(lm, x, y, forget_every=2)
    torch.testing.assert_close(second[:, :2], never[:, :2], rtol=0, atol=0)
    torch.testing.assert_close(second[:, 2], off[:, 2], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(never[:, 1:], off[:, 1:], rtol=1e-6, atol=0)


def test_a_decoder_reads_as_the_module_does() -> None:
    lm, (x, _) = _lm(dtype=torch.float32), _text(1)
    decoder = decoder_for(lm)
    rows = [torch.from_numpy(decoder.logits(decoder.step(int(token)))) for token in x[0]]
    torch.testing.assert_close(torch.stack(rows), lm(x)[0][0].detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("words", ["feed_forward_prime", ALL])
def test_a_decoder_goes_on_from_any_carry_with_learned_weights(words: str) -> None:
    lm, (x, _) = _lm(words, dtype=torch.float32), _text(1)
    gen = torch.Generator().manual_seed(2)
    reader = E2EReader(lm, 0)
    learned = {name: w + 0.1 * torch.randn(w.shape, generator=gen) for name, w in reader.init_weights(1).items()}
    other = _lm(words, dtype=torch.float32)
    other.load_state_dict({**lm.state_dict(), **{name: w[0] for name, w in learned.items()}})
    want = other(x)[0][0].detach()
    decoder = decoder_for(lm)
    for cut in (0, 2, 5, 9):  # before, at and beyond the window of 5
        carry = lm.init_carry(1) if not cut else other(x[:, :cut])[1]
        decoder.load({**carry, **learned})
        rows = []
        for token in x[0, cut:]:
            rows.append(torch.from_numpy(decoder.logits(decoder.step(int(token)))))
            decoder.load(decoder.carry())
        torch.testing.assert_close(torch.stack(rows), want[cut:], rtol=1e-4, atol=1e-5)
    decoder.load(lm.init_carry(1))  # without them it is the model as it was trained
    assert torch.allclose(torch.from_numpy(decoder.logits(decoder.step(int(x[0, 0])))), lm(x)[0][0, 0], atol=1e-5)


def test_a_decoder_that_keeps_all_is_full_attention() -> None:
    lm, whole = _lm(dtype=torch.float32), _lm(dtype=torch.float32, window=32)
    x, _ = _text(1)
    decoder = E2EDecoder(lm, kept=32)
    rows = [torch.from_numpy(decoder.logits(decoder.step(int(token)))) for token in x[0]]
    torch.testing.assert_close(torch.stack(rows), whole(x)[0][0].detach(), rtol=1e-4, atol=1e-5)


def test_the_filter() -> None:
    assert all("feed_forward_prime" in name for name in _lm().fast_names)
    names = _lm(ALL).fast_names
    assert {"ln_f.weight", "head.weight", "suffix_blocks.1.attention.q.weight"} <= {*names}
    assert _lm("suffix_blocks.*.feed_forward.down.*").fast_names == [
        "suffix_blocks.0.feed_forward.down.weight",
        "suffix_blocks.1.feed_forward.down.weight",
    ]
    for words in ("embedding", "head,prefix_blocks", "*.w9"):
        with pytest.raises(FastweightsError, match="matches no parameter"):
            _lm(words)


def test_parameters_are_counted_without_a_model() -> None:
    lm = _lm()
    assert lm.inner_log_rates is not None
    assert parameters(lm.config) == sum(p.numel() for p in lm.parameters()) - lm.inner_log_rates.numel()


def test_an_update_lowers_the_loss_of_the_same_chunk() -> None:
    lm, (x, y) = _lm(), _text(chunks=1)
    learner = e2e_learner(lm, 0, rates=0.05)
    assert isinstance(learner.model, E2EReader)
    state, (chunk,) = fresh_chunks(learner.model, x, y)
    proposal = learner.propose(state, chunk)
    after = FastState(proposal.after.weights, {}, state.carry)
    assert (learner.score(after, chunk) < proposal.output.loss_B).all()
