"""Every source of randomness of a run: seeded in one place, saved and put back exactly."""

import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch (every device)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def rng_state() -> dict[str, torch.Tensor]:
    """State of torch's generators as ``uint8`` tensors: ``cpu``, and ``cuda.<i>`` where there is CUDA in use.

    Training draws from torch only; its windows come from the seed and the window's number (``data/streams.py``).
    """
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state |= {f"cuda.{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return state


def restore_rng(state: dict[str, torch.Tensor]) -> None:
    """Put back what :func:`rng_state` gave. States of devices that this machine lacks are passed over."""
    torch.set_rng_state(state["cpu"])
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"cuda.{i}" in state:
            torch.cuda.set_rng_state(state[f"cuda.{i}"], i)
