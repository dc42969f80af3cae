"""One seed of ``eval kv``: model and baselines, trained from scratch, answer held-out sequences. Torch loads late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.models.e2e_config import E2EConfig
from fastweights.train.config import TrainConfig
from fastweights.train.meta_config import Easier, reach_of

if TYPE_CHECKING:
    from fastweights.data.kv import KVConfig, Reach
    from fastweights.models.e2e import E2ETransformer
    from fastweights.train.meta import KVScore

_RATES = (0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
_FILTERS = ("feed_forward_prime", "feed_forward_prime,ln_f,head")
GRID: list[dict[str, Any]] = [{"lr": lr, "ttt_param_filter": words} for words in _FILTERS for lr in _RATES]
"""Inner loops that dynamic evaluation is searched over."""
UNTRAINED_GRID = [{**setting, "embedding_std": std} for std in (1.0, 3.0, 10.0) for setting in GRID]
"""Of the untrained network: with small embeddings attention's noise would drown the key, so their size is searched."""
_TUNING = 1 << 20  # added to the seed: sequences that a grid is searched on
_FULL_TIMES = 4  # steps of full attention, as a multiple of the preset's


@dataclass(frozen=True)
class Job:
    """One seed's work, as it goes to a process of its own."""

    config: TrainConfig
    sequences: int
    full_attention: bool


def task_of(config: TrainConfig) -> KVConfig:
    assert config.meta is not None
    assert config.meta.kv is not None
    return config.meta.kv


def _reach(config: TrainConfig) -> Reach:
    model = config.model_for(task_of(config).vocab_size)
    assert isinstance(model, E2EConfig)
    return reach_of(model)


def run_seed(job: Job) -> dict[str, Any]:
    """Trains and measures everything of one seed. Its generators are torch's own: call it in a process of its own."""
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.train.meta import kv_score

    torch.set_num_threads(1)
    keep_freed_memory()
    config, cost = job.config, {}
    task = task_of(config)
    reach = _reach(config)
    ask: dict[str, Any] = {"sequences": job.sequences, "seed": config.seed}
    out: dict[str, Any] = {}

    cost["meta"], lm = _trained(config)
    out["meta"] = kv_score(lm, task, reach, **ask)
    out["updates_off"] = kv_score(lm, task, reach, updates=False, **ask)
    twice = task.model_copy(update={"records": 2 * task.records})
    out["meta_2x_records"] = kv_score(lm, twice, reach, **ask)
    out["meta_curve"], out["updates_off_curve"] = out["meta"].curve_C, out["updates_off"].curve_C
    rates = lm.rates()
    out["inner_rates"] = {k: float(v.detach()) for k, v in rates.items()} if isinstance(rates, dict) else rates
    out["leak"] = _leak(lm, config)

    cost["window_only"], plain = _trained(_near_only(config))
    out["window_only"] = kv_score(plain, task, reach, updates=False, **ask)
    out["dynamic_evaluation"], out["dynamic_evaluation_grid"] = _searched(config, job.sequences, GRID, plain)
    out["untrained_sgd"], out["untrained_sgd_grid"] = _searched(config, job.sequences, UNTRAINED_GRID, None)
    cost["fomaml"], first = _trained(_changed(config, first_order=True))
    out["fomaml"] = kv_score(first, task, reach, **ask)
    out["full_attention"] = None
    if job.full_attention:
        cost["full_attention"], whole = _trained(_whole(config), reach)
        out["full_attention"] = kv_score(whole, task, reach, updates=False, **ask)
    return out | {"train_cpu_seconds": cost}


def _changed(config: TrainConfig, **meta: Any) -> TrainConfig:
    assert config.meta is not None
    return config.model_copy(update={"meta": config.meta.model_copy(update=meta)})


def _near_only(config: TrainConfig) -> TrainConfig:
    """Nothing learned while reading, on near queries alone: what a window can learn at all. As many tokens a step.

    Two queries a record: in a longer chain of near queries all but one or two keys die out.
    """
    task, reach = task_of(config), _reach(config)
    records = max(1, min(task.records, reach.near_gap(task.width) + 1))
    near = Easier(until=config.steps, records=records, queries=2 * records, far_frac=0.0)
    batch = max(1, config.batch_size * task.tokens // (3 * records * task.width))
    return _changed(config, updates=False, easier=(near,)).model_copy(update={"batch_size": batch})


def _whole(config: TrainConfig) -> TrainConfig:
    """Attention over the whole sequence, nothing learned while reading, and more steps."""
    config = _changed(config, updates=False)
    steps = _FULL_TIMES * config.steps
    return config.model_copy(
        update={"model": {**config.model, "window": config.seq_len}, "steps": steps, "schedule_steps": steps}
    )


def _trained(config: TrainConfig, reach: Reach | None = None) -> tuple[float, E2ETransformer]:
    """CPU seconds of the training, and the model in eval mode, without gradients.

    ``reach``: what is far and near, where that is not by the model's own attention.
    """
    import time

    from fastweights.data.ids_tokenizer import IdsTokenizer
    from fastweights.data.kv import kv_corpus
    from fastweights.train.meta import MetaTrainer

    start = time.process_time()
    task = task_of(config)
    reach = reach or _reach(config)
    trainer = MetaTrainer(
        config, kv_corpus(task, reach, config.seed), IdsTokenizer(task.vocab_size, task.bos, task.bos)
    )
    trainer.reach = reach
    while trainer.step < config.steps:
        trainer.advance()
    return time.process_time() - start, trainer.model.eval().requires_grad_(False)


def _searched(
    config: TrainConfig, sequences: int, grid: list[dict[str, Any]], trained: E2ETransformer | None
) -> tuple[KVScore, list[float]]:
    """The best of ``grid`` on sequences of its own, measured on the others; and what each setting gave.

    ``trained``: whose weights learn as they read; none: fresh ones from the config's seed.
    """
    import torch

    from fastweights.models.e2e import E2ETransformer
    from fastweights.train.meta import kv_score

    task = task_of(config)
    base = config.model_for(task.vocab_size)
    assert isinstance(base, E2EConfig)
    reach, found, models = reach_of(base), [], []
    for setting in grid:
        fields = dict(setting)
        own = {"embedding_std": fields.pop("embedding_std")} if "embedding_std" in fields else {}
        inner = base.inner.model_copy(update={**fields, "learned_rates": False, "clip": None})
        torch.manual_seed(config.seed)
        one = E2ETransformer(base.model_copy(update={**own, "inner": inner})).eval().requires_grad_(False)
        if trained is not None:
            one.load_state_dict({name: t for name, t in trained.state_dict().items() if name != "inner_log_rates"})
        tuned = kv_score(one, task, reach, sequences=min(16, sequences), seed=config.seed + _TUNING)
        found.append(tuned.far or 0.0)
        models.append(one)
    best = models[max(range(len(found)), key=found.__getitem__)]
    return kv_score(best, task, reach, sequences=sequences, seed=config.seed), found


def _leak(lm: E2ETransformer, config: TrainConfig) -> float:
    """By how much the losses before a place change when every token from there on does: exactly 0, or it leaks."""
    import torch

    from fastweights.data.kv import held_out
    from fastweights.train.meta import kv_tensors, read_adapting

    task = task_of(config)
    x_BT, y_BT, _ = kv_tensors(held_out(task, reach_of(lm.config), 4, config.seed), lm.head.weight.device)
    worst = 0.0
    for place in (1, x_BT.shape[1] // 3 + 5, x_BT.shape[1] - 2):
        other_x, other_y = x_BT.clone(), y_BT.clone()
        other_x[:, place:] = (x_BT[:, place:] + 1) % task.vocab_size
        other_y[:, place:] = (y_BT[:, place:] + 1) % task.vocab_size
        (here, _), (there, _) = (read_adapting(lm, *pair) for pair in ((x_BT, y_BT), (other_x, other_y)))
        nats = [
            torch.nn.functional.cross_entropy(
                logits[:, :place].flatten(0, 1), y_BT[:, :place].flatten(), reduction="none"
            )
            for logits in (here, there)
        ]
        worst = max(worst, float((nats[0] - nats[1]).abs().max()))
    return worst
