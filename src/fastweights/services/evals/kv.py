"""``eval kv``: does the model carry facts past its attention window, and is it meta-learning that makes it so?

Each seed trains the preset's model and its baselines from scratch and asks held-out sequences. The rates of dynamic
evaluation and of the untrained network are searched on sequences of their own. Torch loads late.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError
from fastweights.models.e2e_config import E2EConfig
from fastweights.services.evals.kv_seed import GRID, UNTRAINED_GRID, Job, run_seed, task_of
from fastweights.train.config import TrainConfig, load_config
from fastweights.train.meta_config import reach_of

if TYPE_CHECKING:
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
    task = task_of(jobs[0].config)
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
