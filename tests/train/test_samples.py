"""Training on independent samples: a TTTLM starts every sequence at its W0, AdamW updates all, a resume is exact."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fastweights.data.corpus import Corpus
from fastweights.errors import FastweightsError, Unsupported
from fastweights.models.ttt_lm import TTTLM
from fastweights.store.tensors import dumps, loads
from fastweights.train.config import TrainConfig, load_config, presets
from fastweights.train.distributed import World
from fastweights.train.plan import is_large, plan_text, training_plan
from fastweights.train.rng import seed_all
from fastweights.train.throughput import flops_per_token, peak_flops
from fastweights.train.trainer import Trainer

from .conftest import BYTE

TTT: dict[str, Any] = {
    "model": {"kind": "ttt_lm", "layers": 2, "mixer": {"dim": 16, "heads": 2, "chunk": 8}, "mlp_hidden": 32},
    "optim": {"adam_lr": 0.01, "weight_decay": 0.1},
    "seq_len": 24,
    "batch_size": 4,
    "steps": 40,
    "warmup": 3,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bf16": {"precision": "bf16"},
    "average": {"ema": 0.9},
    "accumulate": {"accumulate": 2},
    "segments": {"model": {**TTT["model"], "checkpoint_n_chunks": 1}},
    "tiny_lm": {"model": {"dim": 16, "dropout": 0.1}, "reading": "samples", "optim": {"rule": "adamw"}},
}


def start(corpus: Corpus, **changes: Any) -> Trainer:
    return Trainer(TrainConfig.model_validate({**TTT, **changes}), corpus, BYTE)


def advance(trainer: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        trainer.advance()
    return trainer


def test_it_learns(corpus: Corpus) -> None:
    trainer = advance(start(corpus), 1)
    assert isinstance(trainer.model, TTTLM)
    first = trainer.row()[0]
    advance(trainer, 39)
    trainer.start_row()
    assert first == pytest.approx(np.log(258), abs=0.1)
    assert advance(trainer, 4).row()[0] < 0.75 * first
    assert trainer.evaluate() < 6
    assert trainer.carry is None


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_restored_run_goes_on_bit_for_bit(variant: str, corpus: Corpus) -> None:
    whole = advance(start(corpus, **VARIANTS[variant]), 4)
    tensors, meta = whole.state()
    data = dumps(tensors)
    advance(whole, 4)
    later = start(corpus, **VARIANTS[variant])
    seed_all(999)
    later.restore(loads(data)[0], meta)
    advance(later, 4)
    assert later.params_sha256() == whole.params_sha256()
    assert dumps(later.state()[0]) == dumps(whole.state()[0])
    assert (later.state()[1], later.row(), later.evaluate()) == (whole.state()[1], whole.row(), whole.evaluate())


def test_every_sequence_starts_at_the_learned_w0(corpus: Corpus) -> None:
    """The gradient reaches W0, and training moves it."""
    trainer = start(corpus)
    before = trainer.model.layers[0].mixer.W1.detach().clone()
    advance(trainer, 3)
    assert not torch.equal(trainer.model.layers[0].mixer.W1, before)
    x, _, fresh = trainer.streams.window(0)
    assert fresh
    x_BT = torch.from_numpy(x)
    with torch.no_grad():
        both, _ = trainer.model(x_BT)
        alone, _ = trainer.model(x_BT[1:2])
    torch.testing.assert_close(both[1:2], alone)


def test_only_matrices_decay(corpus: Corpus) -> None:
    groups = start(corpus).optimizers.single.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert {p.ndim for p in groups[0]["params"]} == {2}
    assert sum(len(group["params"]) for group in groups) == len(list(start(corpus).model.parameters()))


def test_the_hash_is_over_the_parameters_in_the_order_of_their_names(corpus: Corpus) -> None:
    import hashlib

    trainer = advance(start(corpus), 1)
    named = sorted(trainer.model.named_parameters())
    data = b"".join(p.detach().numpy().tobytes() for _, p in named)
    assert trainer.params_sha256() == hashlib.sha256(data).hexdigest()


def test_one_sequence_is_enough_of_a_corpus(corpus: Corpus) -> None:
    start(corpus, batch_size=512)
    with pytest.raises(FastweightsError, match="shorter than one sequence"):
        start(corpus, seq_len=4000)


def test_sharded_runs_say_what_they_cannot_do(corpus: Corpus) -> None:
    for changes in ({"ema": 0.9}, {"reading": "streams"}, {"optim": {"rule": "muon"}}):
        config = TrainConfig.model_validate({**TTT, **changes})
        with pytest.raises(Unsupported, match="strategy fsdp trains independent samples with AdamW"):
            Trainer(config, corpus, BYTE, world=World(strategy="fsdp"))


# ---------------------------------------------------------------- presets and their cost


def test_large_presets_and_the_planned_one() -> None:
    ttt = {name for name in presets() if load_config(name).kind == "ttt_lm"}
    assert ttt >= {"debug_tiny", "ttt_125m", "bringup_1p3b", "ttt_47b", "ttt_linear_official_1p3b"}
    assert {name for name in ttt if not is_large(load_config(name))} == {"debug_tiny"}
    assert [name for name in ttt if load_config(name).plan_only] == ["ttt_47b"]
    plan = training_plan(load_config("ttt_47b"), "ttt_47b", ranks=16)
    assert 45e9 < plan["parameters"] < 49e9
    assert plan["flops_per_token"] > 6 * 46e9
    by = {one["ranks"]: one["bytes_per_rank"] for one in plan["by_ranks"]}
    assert by[16] == plan["memory_per_rank"] > 16 * 46e9 / 16
    assert by[1024] < by[64] < by[8]
    text = plan_text(plan)
    assert all(word in text for word in ("parameters", "FLOPs per token", "memory per rank", "64 ranks"))


def test_a_size_is_where_a_ttt_lm_begins() -> None:
    config = TrainConfig.model_validate({"model": {"size": "debug_tiny", "layers": 3}})
    model = config.model_for(300)
    assert (config.kind, model.kind, model.layers, model.vocab_size, model.dim) == ("ttt_lm", "ttt_lm", 3, 300, 128)
    assert (config.samples, config.muon, config.peak_lr) == (True, False, config.optim.adam_lr)
    with pytest.raises(FastweightsError, match="size 'debug_tin' does not exist; did you mean 'debug_tiny'"):
        load_config("debug_tiny", {"model.size": "debug_tin"})


def test_flops_and_peaks(corpus: Corpus, config: Callable[..., TrainConfig]) -> None:
    trainer = Trainer(config(), corpus, BYTE)
    used = sum(p.numel() for n, p in trainer.model.named_parameters() if p.ndim == 2 and "embedding" not in n)
    assert trainer.flops_per_token == flops_per_token(trainer.model, trainer.model_config, 24) == 6 * used
    ttt = start(corpus)
    matrices = sum(p.numel() for n, p in ttt.model.named_parameters() if p.ndim == 2)
    inner = 2 * 2 * (6 * 8**2 + 4 * 8 * 8)  # layers, heads, (6 d^2 + 4 b d)
    assert ttt.flops_per_token == pytest.approx(6 * matrices + 3 * inner, rel=0.2)
    peak = peak_flops(torch.device("cpu"), "fp32")
    assert peak is not None
    assert 1e8 < peak < 1e14
    assert peak_flops(torch.device("mps"), "fp32") is None
