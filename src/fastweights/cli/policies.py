"""Guard policies as flags name them: a file or a shipped name, then changed by single thresholds. Torch-free."""

from typing import Any

from fastweights.guard.gate_policy import complete_gate, flat
from fastweights.guard.policy import Policy
from fastweights.hints import validate
from fastweights.services.policies import ROLLBACK, RULES, named_policy

__all__ = ["adjusted", "named_policy"]


def adjusted(
    policy: Policy,
    *,
    words: bool,
    disable_gate: bool = False,
    min_entropy: float | None = None,
    min_diversity: float | None = None,
    ood_loss: float | None = None,
    ood_grad: float | None = None,
    disable_rollback: bool = False,
    max_delta: float | None = None,
    max_z: float | None = None,
    spfw: bool | None = None,
) -> Policy:
    """The policy with what the flags change. A threshold of the gate holds for every length of chunk."""
    changes: dict[str, Any] = {}
    if disable_rollback:
        changes |= {name: {**getattr(policy, name).model_dump(), "mode": "observe"} for name in ROLLBACK}
    audit = {name: value for name, value in (("max_delta", max_delta), ("max_z", max_z)) if value is not None}
    if audit:
        changes["audit"] = {**policy.audit.model_dump(), **changes.get("audit", {}), **audit}
    if spfw is not None:
        changes["spfw"] = {"mode": "enforce" if spfw else "off"}
    rules: dict[str, Any] = {}
    if min_entropy is not None:
        rules["entropy"] = {"table": flat("low", min_entropy)}
    if min_diversity is not None:
        rules["diversity"] = {"table": flat("low", min_diversity)}
    if ood_loss is not None or ood_grad is not None:  # the one not given: as if exceeded
        rules["ood"] = {"loss": flat("high", ood_loss or 0.0), "grad_norm": flat("high", ood_grad or 0.0)}
    if disable_gate:
        rules = {name: {**rules.get(name, {}), "mode": "observe"} for name in RULES}
    if rules:
        base = complete_gate(policy.gate, words=words).model_dump()
        changes["gate"] = {**base, **{name: {**base[name], **change} for name, change in rules.items()}}
    return validate(Policy, {**policy.model_dump(), **changes}, "monitor") if changes else policy
