"""Start or go on with meta-learning: training runs whose config has ``meta``. Torch-free; see ``training``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError
from fastweights.services import training
from fastweights.services.training import Where
from fastweights.store.root import Store
from fastweights.train.config import load_config
from fastweights.train.hooks import Hooks

DEFAULT_PRESET = "kv_cpu"
INNER = {
    "chunk_size": "model.inner.chunk",
    "inner_lr": "model.inner.lr",
    "learned_rates": "model.inner.learned_rates",
    "inner_clip": "model.inner.clip",
    "ttt_param_filter": "model.inner.ttt_param_filter",
    "window_size": "model.window",
    "first_order": "meta.first_order",
    "remat": "meta.remat",
}
"""Options of the inner loop -> fields of the run's config."""


def start(
    store: Store,
    preset: str | None,
    changes: Mapping[str, Any],
    *,
    model_id: str | None = None,
    where: Where | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """As :func:`training.start`; ``changes`` may hold options of :data:`INNER`, too."""
    preset = preset or DEFAULT_PRESET
    given = {INNER.get(name, name): value for name, value in changes.items() if value is not None}
    config = load_config(preset, given)
    if config.meta is None:
        raise FastweightsError(
            f"preset {Path(preset).stem!r} is plain training: `fastweights train --preset {preset}` does that; for "
            "meta-learning give a preset with meta, e.g. kv_cpu or meta_8k"
        )
    return training.start(store, preset, given, model_id=model_id, where=where, hooks=hooks)


def resume(
    store: Store,
    which: str,
    changes: Mapping[str, Any],
    *,
    preset: str | None = None,
    corpus: str | None = None,
    model_id: str | None = None,
    where: Where | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """As :func:`training.resume`; options of :data:`INNER` cannot change."""
    for name in INNER:
        if changes.get(name) is not None:
            raise FastweightsError(f"--{name.replace('_', '-')} cannot change in a resumed run: leave it out")
    rest = {name: value for name, value in changes.items() if name not in INNER}
    return training.resume(
        store, which, rest, preset=preset, corpus=corpus, model_id=model_id, where=where, hooks=hooks
    )
