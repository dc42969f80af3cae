"""``eval kv``: does the model carry facts past its attention window, and is it meta-learning that makes it so?

Each seed trains the preset's model and its baselines from scratch and asks held-out sequences. The rates of dynamic
evaluation and of the untrained network are searched on sequences of their own. Torch loads late.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError
from fastweights.models.e2e_config import E2EConfig
from fastweights.train.config import TrainConfig, load_config
from fastweights.train.meta_config import Easier, reach_of

if TYPE_CHECKING:
    from fastweights.data.kv import KVConfig, Reach
    from fastweights.models.e2e import E2ETransformer
    from fastweights.train.meta import KVScore

ROWS = (
    "meta",
    "meta_2x_records",
    "updates_off",
    "window_only",
    "full_attention",
    "dynamic_evaluation",
    "untrained_sgd",
    "fomaml",
)
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


def eval_kv(
    preset: str = "kv_cpu",
    *,
    seeds: int = 3,
    seed: int = 0,
    record: str | None = None,
    records: int | None = None,
    steps: int | None = None,
    sequences: int = 64,
    with_full_attention: bool = False,
    processes: int | None = None,
) -> dict[str, Any]:
    """The JSON of ``eval kv``: for each of :data:`ROWS` far and near accuracy (means over seeds) and 95 % intervals.

    ``sequences``: held-out ones a figure is measured on. ``processes``: seeds that run side by side (default: one a
    core). Raises FastweightsError where the preset is not of the KV task, or a number does not fit.
    """
    counts = {"seeds": seeds, "sequences": sequences, "steps": steps, "processes": processes, "records": records}
    if few := [f"{name}={count}" for name, count in counts.items() if count is not None and count < 1]:
        raise FastweightsError(f"{', '.join(few)}: give 1 or more")
    jobs = [
        Job(_config(preset, seed + i, record, records, steps), sequences, with_full_attention) for i in range(seeds)
    ]
    workers = min(processes or os.cpu_count() or 1, seeds)
    if workers == 1:
        found = [run_seed(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(run_seed, jobs))
    task = _task(jobs[0].config)
    return {
        "preset": preset,
        "task": task.model_dump(),
        "seeds": [job.config.seed for job in jobs],
        "steps": jobs[0].config.steps,
        "sequences": sequences,
        **{name: _row([one[name] for one in found]) for name in ROWS},
        "chance": task.chance,
        "later_tokens_change_earlier_losses": max(one["leak"] for one in found),
        "grids": {
            name: {"settings": grid, "far": [one[f"{name}_grid"] for one in found]}
            for name, grid in (("dynamic_evaluation", GRID), ("untrained_sgd", UNTRAINED_GRID))
        },
        "inner_loss": {name: [one[f"{name}_curve"] for one in found] for name in ("meta", "updates_off")},
        "inner_rates": [one["inner_rates"] for one in found],
        "train_cpu_seconds": [one["train_cpu_seconds"] for one in found],
        "cpu_seconds": cpu_seconds(),
    }


def _config(preset: str, seed: int, record: str | None, records: int | None, steps: int | None) -> TrainConfig:
    """The preset's run with this seed. Another record keeps the records of a chunk and of a window.

    Another number of records: as many more queries as make whole chunks.
    """
    base = load_config(preset)
    if base.meta is None or base.meta.kv is None:
        raise FastweightsError(f"preset {preset!r} is not of the KV task (meta.kv): give kv_cpu, or a YAML file")
    changes: dict[str, Any] = {"seed": seed, "steps": steps}
    if steps is not None:  # the easier tasks, too, come to their share of the run
        stages = [{**one.model_dump(), "until": max(1, one.until * steps // base.steps)} for one in base.meta.easier]
        changes |= {"meta.easier": stages, "schedule_steps": steps}
    old, count = base.meta.kv, records or base.meta.kv.records
    keys = max(old.keys, 2 * count)  # twice the records must have keys, too
    task = old.model_validate({**old.model_dump(), "record": record or old.record, "records": count, "keys": keys})
    model = base.model_for(task.vocab_size)
    assert isinstance(model, E2EConfig)
    window, chunk = (n * task.width // old.width for n in (model.window, model.inner.chunk))
    fields = {**base.model, "window": window, "inner": {**base.model.get("inner", {}), "chunk": chunk}}
    while task.tokens % chunk:
        task = task.model_copy(update={"queries": task.queries + 1})
    least = reach_of(model.model_copy(update={"window": window})).far_gap(task.width)
    if count < least:
        raise FastweightsError(f"records={count}: none lies beyond the reach of attention; give {least} and more")
    changes |= {"meta.kv": task.model_dump(), "model": fields, "seq_len": task.tokens}
    return load_config(preset, changes)


def _task(config: TrainConfig) -> KVConfig:
    assert config.meta is not None
    assert config.meta.kv is not None
    return config.meta.kv


def _reach(config: TrainConfig) -> Reach:
    model = config.model_for(_task(config).vocab_size)
    assert isinstance(model, E2EConfig)
    return reach_of(model)


def _row(seeds: list[KVScore | None]) -> dict[str, Any] | None:
    """Means over the seeds; Wilson intervals over all answers."""
    from fastweights.redteam.scores import wilson

    scores = [one for one in seeds if one is not None]
    if not scores:
        return None
    row: dict[str, Any] = {}
    for kind in ("far", "near"):
        each = [getattr(one, kind) for one in scores]
        known = [value for value in each if value is not None]
        right, asked = (sum(getattr(one, f"{kind}_{what}") for one in scores) for what in ("right", "asked"))
        interval = wilson(right, asked)
        row |= {kind: sum(known) / len(known) if known else None, f"{kind}_per_seed": each}
        row[f"{kind}_interval"] = [interval.low, interval.high]
    return row


# ---------------------------------------------------------------- one seed


def run_seed(job: Job) -> dict[str, Any]:
    """Trains and measures everything of one seed. Its generators are torch's own: call it in a process of its own."""
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.train.meta import kv_score

    torch.set_num_threads(1)
    keep_freed_memory()
    config, cost = job.config, {}
    task = _task(config)
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
    task, reach = _task(config), _reach(config)
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
    task = _task(config)
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

    task = _task(config)
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

    task = _task(config)
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
