"""The policies that ship, each calibrated on the model that it is named after. Torch-free."""

import functools
from pathlib import Path

from fastweights.guard.policy import Policy

_FOLDER = Path(__file__).parents[1] / "presets" / "policies"


@functools.cache
def shipped_policy(model: str | None) -> Policy | None:
    """The policy that ships for a model, or None."""
    if model is None or model not in calibrated_models():
        return None
    import yaml

    return Policy.model_validate(yaml.safe_load((_FOLDER / f"{model}.yaml").read_text(encoding="utf-8")))


def default_policy(model: str | None) -> Policy:
    """What guards a model where nothing else is said: the policy that ships for it, else the plain one."""
    return shipped_policy(model) or Policy()


def calibrated_models() -> list[str]:
    """The models for which a policy ships."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))
