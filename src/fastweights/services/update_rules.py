"""The rule by which a session or a monitor writes, from its options. Torch loads when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.models.e2e_config import InnerConfig
from fastweights.models.memory.names import DEFAULT, RULED
from fastweights.services.records import BY_RULE, MAX_CHUNK, RULE_OPTIONS, SessionOptions
from fastweights.store import atomic
from fastweights.store.models import Models

if TYPE_CHECKING:
    from fastweights.core.rules import UpdateRule
    from fastweights.services.monitor_records import MonitorOptions


def update_rule(options: SessionOptions | MonitorOptions) -> UpdateRule:
    """``rule``, ``lr``, ``momentum`` (Nesterov where there is any) and, of sgd, ``clip``."""
    from fastweights.core.rules import SGD, Muon

    nesterov = options.momentum > 0
    if options.rule == "sgd":
        return SGD(options.lr, options.momentum, nesterov, options.clip)
    return Muon(options.lr, options.momentum, nesterov)


def has_own_rule(models: Models, model_id: str) -> bool:
    """Whether the model learns by a rule of its own, as its config says; False of one that is gone or damaged."""
    try:
        config = _config(models, model_id)
    except FastweightsError:
        return False
    return config.get("kind") == "e2e" or (config.get("kind") == "ttt_lm" and config.get("attention") is None)


def natural_chunk(models: Models, model_id: str) -> int | None:
    """The tokens after which a TTT-E2E model was trained to write, at most what a session takes; None of others."""
    config = _config(models, model_id)
    return (
        min(InnerConfig.model_validate(config.get("inner", {})).chunk, MAX_CHUNK)
        if config.get("kind") == "e2e"
        else None
    )


def _config(models: Models, model_id: str) -> dict[str, Any]:
    file = models.path(model_id) / "config.json"
    return atomic.read_json(file) if file.is_file() else {}


def refuse_rule(options: SessionOptions | MonitorOptions) -> None:
    """For a model that learns by its own rule: FastweightsError names an option of a rule that is not the default."""
    for name, field in type(options).model_fields.items():
        allowed = (DEFAULT, RULED) if name == "memory" else (field.default,)
        if name in ("memory", "rank", *RULE_OPTIONS) and getattr(options, name) not in allowed:
            raise FastweightsError(
                f"{name} {getattr(options, name)}: model {options.model!r} learns by a rule of its own (test-time "
                f"training), so leave {name} out"
            )


def refuse_unused(options: SessionOptions) -> None:
    """FastweightsError names an option of a rule, not the default, that the session's memory would not follow."""
    if options.memory in BY_RULE:
        return
    for name in RULE_OPTIONS:
        if (value := getattr(options, name)) != SessionOptions.model_fields[name].default:
            raise FastweightsError(
                f"{name} {value}: memory {options.memory} writes by a rule of its own, so leave {name} out, or choose "
                f"memory {', '.join(BY_RULE[:-1])} or {BY_RULE[-1]}"
            )
