"""Guard policies by name or file, for every door: command line, HTTP, the dashboard's form. Torch-free."""

from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError, NotFound
from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.policy import Policy
from fastweights.guard.shipped import calibrated_models, default_policy, shipped_policy
from fastweights.hints import near_miss, validate
from fastweights.services.records import Record

ROLLBACK = ("audit", "cusum", "drift")
RULES = tuple(GatePolicy.model_fields)


class NamedPolicy(Record):
    """A policy that ships. ``model``: the one that it was calibrated on, None: made for none."""

    name: str
    model: str | None
    description: str
    policy: Policy


def named_policy(which: str | None, model: str | None = None) -> Policy:
    """A name, or a YAML or JSON file with the keys of a policy.

    ``default``: the policy that ships for ``model`` (calibrated on it), else the plain one. ``observe``: every check
    measures, none refuses. A model's name: what ships for it.
    """
    if which in (None, "default"):
        return default_policy(model)
    if which == "observe":
        modes = {name: {"mode": "observe"} for name in (*ROLLBACK, "spfw")}
        gate = GatePolicy(**{name: {"mode": "observe"} for name in RULES})  # type: ignore[arg-type]
        return Policy(name="observe", gate=gate, **modes)  # type: ignore[arg-type]
    if (shipped := shipped_policy(which)) is not None:
        return shipped
    path = Path(which)
    if not path.exists() and path.suffix == "":
        raise NotFound(f"policy {which!r} is neither a file nor a name{near_miss(which, _names())}")
    return validate(Policy, {"name": path.stem[:64], **_read(path)}, f"policy file {str(path)!r}")


def policy_rows() -> list[NamedPolicy]:
    """Every policy that has a name, with its content."""
    plain = "limits for text of any kind, calibrated on no model"
    rows = [("default", None, plain), ("observe", None, "every check measures, none refuses")]
    rows += [(name, name, f"calibrated on model {name}") for name in calibrated_models()]
    return [NamedPolicy(name=n, model=m, description=d, policy=named_policy(n)) for n, m, d in rows]


def _names() -> list[str]:
    return ["default", "observe", *calibrated_models()]


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"policy file {str(path)!r} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FastweightsError(f"policy file {str(path)!r} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise FastweightsError(f"policy file {str(path)!r} holds no mapping; see docs/guard.md for its keys")
    return dict(data)
