"""Guard policies as flags name them: a file or a shipped name, then changed by single thresholds. Torch-free."""

from pathlib import Path
from typing import Any

from fastweights.cli import output
from fastweights.errors import NotFound
from fastweights.guard.gate_policy import GatePolicy, flat
from fastweights.guard.policy import Policy
from fastweights.hints import near_miss, validate

NAMES = ("default", "observe")
_ROLLBACK = ("audit", "cusum", "drift")
_RULES = tuple(GatePolicy.model_fields)


def named_policy(which: str | None) -> tuple[Policy, GatePolicy | None]:
    """A name of :data:`NAMES` or a YAML or JSON file: the keys of a policy, and ``gate`` for the input gate."""
    if which is None or which == "default":
        return Policy(), None
    if which == "observe":
        modes = {name: {"mode": "observe"} for name in (*_ROLLBACK, "spfw")}
        return Policy(name="observe", **modes), GatePolicy(**{name: {"mode": "observe"} for name in _RULES})  # type: ignore[arg-type]
    path = Path(which)
    if not path.exists() and path.suffix == "":
        raise NotFound(f"policy {which!r} is neither a file nor a name{near_miss(which, NAMES)}")
    data = _read(path)
    gate = data.pop("gate", None)
    chosen = validate(Policy, {"name": path.stem[:64], **data}, f"policy file {str(path)!r}")
    return chosen, None if gate is None else validate(GatePolicy, gate, f"policy file {str(path)!r}, gate")


def adjusted(
    policy: Policy,
    gate: GatePolicy | None,
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
) -> tuple[Policy, GatePolicy | None]:
    """The policy with what the flags change. A threshold of the gate holds for every length of chunk."""
    changes: dict[str, Any] = {}
    if disable_rollback:
        changes |= {name: {**getattr(policy, name).model_dump(), "mode": "observe"} for name in _ROLLBACK}
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
        rules = {name: {**rules.get(name, {}), "mode": "observe"} for name in _RULES}
    if rules:
        base = (gate or shipped_gate(words=words)).model_dump()
        gate = validate(GatePolicy, {**base, **{n: {**base[n], **change} for n, change in rules.items()}}, "monitor")
    return (validate(Policy, {**policy.model_dump(), **changes}, "monitor") if changes else policy), gate


def shipped_gate(*, words: bool) -> GatePolicy:
    """The shipped limits for a model of words, or of bytes."""
    from fastweights.services.monitor_parts import default_gate_for

    return default_gate_for(words=words)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"policy file {str(path)!r} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise output.UsageError(f"policy file {str(path)!r} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise output.UsageError(f"policy file {str(path)!r} holds no mapping; see docs/guard.md for its keys")
    return dict(data)
