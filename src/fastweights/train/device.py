"""Which device to compute on."""

import os

from fastweights.errors import FastweightsError, Unsupported

DEVICES = ("auto", "cpu", "cuda", "mps")


def resolve_device(device: str = "auto") -> str:
    """``auto`` (then ``TEXT_LM_DEVICE`` if set) takes cuda, else mps, else cpu; ``Unsupported`` for a missing one."""
    import torch

    if device == "auto":
        device = os.environ.get("TEXT_LM_DEVICE") or "auto"
    if device not in DEVICES:
        raise FastweightsError(
            f"device '{device}' is not one of {', '.join(DEVICES)}; check --device and TEXT_LM_DEVICE"
        )
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[device]:
        raise Unsupported(
            f"device {device} is not available here; this machine has {', '.join(d for d in there if there[d])}"
        )
    return device
