"""Where tensors live: ``auto | cpu | cuda | mps``, from an argument or the environment's ``TEXT_LM_DEVICE``."""

import os

import torch

from fastweights.errors import Unsupported

NAMES = ("auto", "cpu", "cuda", "mps")
ONE_THREAD_BELOW = 20_000_000  # parameters; smaller models lose more to waiting than a second thread gains


def threads_for(params: int, wanted: int | None = None) -> int:
    """CPU threads: ``FASTWEIGHTS_THREADS``, else ``wanted``, else 1 below 20M parameters and all cores above."""
    text = os.environ.get("FASTWEIGHTS_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise Unsupported(f"FASTWEIGHTS_THREADS={text!r} is not a positive number")
    return int(text) if text else wanted or (1 if params < ONE_THREAD_BELOW else os.cpu_count() or 1)


def set_threads() -> None:
    """Set torch's threads for reading with small models: ``FASTWEIGHTS_THREADS``, else one.

    One is right for models of a few million parameters: their matrices are too small to share, and several processes
    with several threads each stall one another. The setting is the process's, so only entry points call this.
    """
    torch.set_num_threads(threads_for(0))


def pick_device(name: str | None = None) -> torch.device:
    """The device of that name; None takes ``TEXT_LM_DEVICE``, else ``auto`` (cuda, then mps, then cpu).

    Raises :class:`Unsupported` for an unknown name or a device that this machine lacks.
    """
    name = name or os.environ.get("TEXT_LM_DEVICE") or "auto"
    if name not in NAMES:
        raise Unsupported(f"device {name!r} is not known: use one of {', '.join(NAMES)}")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if not present[name]:
        raise Unsupported(f"device {name!r} is not present on this machine: use auto or cpu")
    return torch.device(name)
