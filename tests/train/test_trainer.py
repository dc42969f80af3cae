"""The training step: it learns, carries its state, and goes on bit for bit from what it saved."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fastweights.data.corpus import Corpus
from fastweights.data.streams import Streams
from fastweights.errors import Corrupt, FastweightsError
from fastweights.models.scoring import corpus_score
from fastweights.store.tensors import dumps, loads
from fastweights.train.config import TrainConfig
from fastweights.train.rng import restore_rng, rng_state, seed_all
from fastweights.train.trainer import Diverged, Trainer

from .conftest import BYTE

Make = Callable[..., TrainConfig]
VARIANTS: dict[str, dict[str, Any]] = {
    "ssm": {},
    "gru": {"model": {"backbone": "gru"}},
    "ngrams": {"model": {"ngram_orders": (2, 3), "ngram_rows": 300}},
    "average": {"ema": 0.9},
    "bf16": {"precision": "bf16"},
    "accumulate": {"accumulate": 2, "clip": None},
    "dropout": {"model": {"dropout": 0.2}},
}


def start(config: TrainConfig, corpus: Corpus) -> Trainer:
    return Trainer(config, corpus, BYTE)


def advance(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.advance()
    return trainer


def everything(trainer: Trainer) -> tuple[dict[str, bytes], dict[str, Any]]:
    tensors, meta = trainer.state()
    return {name: dumps({"t": tensor}) for name, tensor in tensors.items()}, meta


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_learns(variant: str, config: Make, corpus: Corpus) -> None:
    trainer = advance(start(config(steps=60, **VARIANTS[variant]), corpus), 1)
    first, _ = trainer.row()
    advance(trainer, 50).row()
    last, _ = advance(trainer, 9).row()
    assert first == pytest.approx(np.log(258), abs=0.01)  # the head starts at zero
    assert last < 3.8
    assert trainer.evaluate() < 5.7  # bits per byte; 8.01 before training


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_restored_run_goes_on_bit_for_bit(variant: str, config: Make, corpus: Corpus) -> None:
    """24 steps are more than one epoch; 10 is in the middle of one and of a row of the log."""
    whole = advance(start(config(**VARIANTS[variant]), corpus), 10)
    tensors, meta = whole.state()
    data = dumps(tensors)
    advance(whole, 14)
    assert isinstance(whole.streams, Streams)
    assert whole.streams.windows_per_epoch < whole.position

    later = start(config(**VARIANTS[variant]), corpus)
    seed_all(999)  # nothing may hang on what the process did before
    later.restore(loads(data)[0], meta)
    advance(later, 14)
    assert everything(later) == everything(whole)
    assert later.evaluate() == whole.evaluate()
    assert later.row() == whole.row()


def test_it_can_be_restored_before_the_first_step(config: Make, corpus: Corpus) -> None:
    trainer = start(config(), corpus)
    tensors, meta = trainer.state()
    data = dumps(tensors)
    later = start(config(seed=5), corpus)
    later.restore(loads(data)[0], meta)
    assert later.carry is None
    assert {n: dumps({"t": t}) for n, t in later.model.state_dict().items()} == {
        n: dumps({"t": t}) for n, t in trainer.model.state_dict().items()
    }


def test_a_checkpoint_of_another_model_is_refused(config: Make, corpus: Corpus) -> None:
    tensors, meta = advance(start(config(), corpus), 2).state()
    with pytest.raises(Corrupt, match="checkpoint does not fit the run") as info:
        start(config(model={"dim": 24}), corpus).restore(tensors, meta)
    assert "\n" not in str(info.value)
    del tensors["rows.loss"]
    with pytest.raises(Corrupt, match=r"rows\.loss"):
        start(config(), corpus).restore(tensors, meta)


def test_seeds(config: Make, corpus: Corpus) -> None:
    same = [everything(advance(start(config(seed=s), corpus), 3))[0] for s in (1, 1, 2)]
    assert same[0] == same[1]
    assert same[0] != same[2]


def test_the_state_is_carried_from_window_to_window(config: Make, corpus: Corpus) -> None:
    """With rates of almost nothing the weights stand still, so that two windows must equal one of twice the length."""
    still = {"optim": {"lr": 1e-30, "adam_lr": 1e-30}}
    trainer = advance(start(config(**still), corpus), 2)
    x = np.concatenate([trainer.streams.window(i)[0] for i in (0, 1)], axis=1)
    with torch.no_grad():
        _, carry = trainer.model(torch.from_numpy(x), None)
    assert trainer.carry is not None
    for name, value in carry.items():
        torch.testing.assert_close(trainer.carry[name], value, rtol=1e-5, atol=1e-6)
        assert not trainer.carry[name].requires_grad


def test_an_epoch_starts_afresh(config: Make, corpus: Corpus) -> None:
    trainer = start(config(), corpus)
    assert isinstance(trainer.streams, Streams)
    per_epoch = trainer.streams.windows_per_epoch
    advance(trainer, per_epoch)
    trainer.carry = {name: torch.full_like(t, 7) for name, t in (trainer.carry or {}).items()}
    other, meta = trainer.state()
    clean = start(config(), corpus)
    clean.restore({**other, **{n: torch.zeros_like(t) for n, t in other.items() if n.startswith("carry.")}}, meta)
    assert everything(advance(trainer, 1)) == everything(advance(clean, 1))


def test_accumulated_windows_are_one_step(config: Make, corpus: Corpus) -> None:
    """Two windows of gradient are averaged, and the loss of the row is theirs."""
    trainer = start(config(accumulate=2), corpus)
    advance(trainer, 1)
    assert (trainer.step, trainer.position) == (1, 2)
    assert trainer.row()[0] == pytest.approx(np.log(258), abs=0.01)


def test_gradients_are_clipped(config: Make, corpus: Corpus) -> None:
    trainer = start(config(clip=1e-3), corpus)
    seen: list[float] = []
    real = trainer.optimizers.step

    def spy(factor: float = 1.0) -> None:
        seen.append(float(torch.nn.utils.get_total_norm([p.grad for p in trainer.params if p.grad is not None])))
        real(factor)

    trainer.optimizers.step = spy
    advance(trainer, 3)
    assert seen == pytest.approx([1e-3] * 3, rel=1e-2)
    assert trainer.row()[1] > 0.01  # what is told is the norm before


def test_evaluation_changes_nothing(config: Make, corpus: Corpus) -> None:
    trainer = advance(start(config(ema=0.5), corpus), 4)
    before = everything(trainer)
    trainer.evaluate()
    trainer.evaluate(100)
    assert everything(trainer) == before


def test_the_average_is_what_is_evaluated(config: Make, corpus: Corpus) -> None:
    trainer = advance(start(config(ema=0.9), corpus), 30)
    with trainer.averaged() as model:
        averaged, n = corpus_score(model, corpus.val, BYTE)
        weights = [p.detach().clone() for p in model.parameters()]
    assert trainer.evaluate() == averaged.bits_per_byte(n)
    assert any(not torch.equal(a, b) for a, b in zip(weights, trainer.params, strict=True))


@pytest.mark.parametrize("where", ["weights", "gradient"])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(where: str, config: Make, corpus: Corpus) -> None:
    trainer = advance(start(config(), corpus), 2)
    parameter = trainer.model.norm.weight
    if where == "weights":
        with torch.no_grad():
            parameter[0] = float("nan")
    else:
        parameter.register_hook(lambda grad: grad * float("inf"))
    before = dumps({"head": trainer.model.head.weight})
    with pytest.raises(Diverged, match=r"at step 3 are not finite.*lower --lr") as info:
        trainer.advance()
    assert info.value.exit_code == 1
    assert trainer.step == 2
    assert dumps({"head": trainer.model.head.weight}) == before


def test_a_corpus_too_short(config: Make, corpus: Corpus) -> None:
    with pytest.raises(FastweightsError, match="shorter than one sequence"):
        start(config(batch_size=512), corpus)


def test_rng_state_comes_back() -> None:
    seed_all(3)
    state = {name: value.clone() for name, value in rng_state().items()}
    drawn = torch.rand(5)
    restore_rng(state)
    assert torch.equal(torch.rand(5), drawn)
    seed_all(3)
    again = (random.random(), np.random.rand())
    seed_all(3)
    assert (random.random(), np.random.rand()) == again
