"""Guard policies as flags name them: a file or a shipped name, then changed by single thresholds. Torch-free."""

from pathlib import Path
from typing import Any

from fastweights.cli import output
from fastweights.errors import NotFound
from fastweights.guard.gate_policy import GatePolicy, complete_gate, flat
from fastweights.guard.policy import Policy
from fastweights.hints import near_miss, validate

_SHIPPED = Path(__file__).parents[1] / "presets" / "policies"
_ROLLBACK = ("audit", "cusum", "drift")
_RULES = tuple(GatePolicy.model_fields)


def named_policy(which: str | None, model: str | None = None) -> Policy:
    """A name, or a YAML or JSON file with the keys of a policy.

    ``default``: the policy that ships for ``model`` (calibrated on it), else the plain one. ``observe``: every check
    measures, none refuses. A model's name: what ships for it.
    """
    if which in (None, "default"):
        return shipped_policy(model) or Policy()
    if which == "observe":
        modes = {name: {"mode": "observe"} for name in (*_ROLLBACK, "spfw")}
        gate = GatePolicy(**{name: {"mode": "observe"} for name in _RULES})  # type: ignore[arg-type]
        return Policy(name="observe", gate=gate, **modes)  # type: ignore[arg-type]
    if (shipped := shipped_policy(which)) is not None:
        return shipped
    path = Path(which)
    if not path.exists() and path.suffix == "":
        raise NotFound(f"policy {which!r} is neither a file nor a name{near_miss(which, _names())}")
    return validate(Policy, {"name": path.stem[:64], **_read(path)}, f"policy file {str(path)!r}")


def shipped_policy(model: str | None) -> Policy | None:
    """The calibrated policy that ships for a model, or None."""
    if model is None or model not in _names():
        return None
    file = _SHIPPED / f"{model}.yaml"
    return Policy.model_validate(_read(file)) if file.is_file() else None


def _names() -> list[str]:
    return ["default", "observe", *sorted(path.stem for path in _SHIPPED.glob("*.yaml"))]


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
        base = complete_gate(policy.gate, words=words).model_dump()
        changes["gate"] = {**base, **{name: {**base[name], **change} for name, change in rules.items()}}
    return validate(Policy, {**policy.model_dump(), **changes}, "monitor") if changes else policy


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
