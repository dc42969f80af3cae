"""Where tensors live: ``auto | cpu | cuda | mps``, from an argument or the environment's ``TEXT_LM_DEVICE``."""

import os

import torch

from fastweights.errors import Unsupported

NAMES = ("auto", "cpu", "cuda", "mps")


def set_threads(default: int = 1) -> None:
    """Set torch's threads to ``FASTWEIGHTS_THREADS``, else ``default``.

    One is right for models of a few million parameters: their matrices are too small to share, and several processes
    with several threads each stall one another. The setting is the process's, so only entry points call this.
    """
    given = os.environ.get("FASTWEIGHTS_THREADS", "")
    if given and not (given.isdecimal() and int(given) > 0):
        raise Unsupported(f"FASTWEIGHTS_THREADS is {given!r}: give a number of threads, at least 1")
    torch.set_num_threads(int(given) if given else default)


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
