"""Tokens a second, and what share of the machine's arithmetic they use (MFU, model FLOPs utilisation).

FLOPs a token = 6 times the parameters that are multiplied with (matrices; tables that are only looked up do not count),
and of a TTTLM 3 times its inner loop's forward. Recomputation does not count.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from fastweights.models.kinds import ModelConfig
from fastweights.models.ttt_lm_config import TTTLMConfig, plan

if TYPE_CHECKING:
    from fastweights.train.trainer import Trainer

_PEAKS = {  # dense FLOP/s of NVIDIA's data sheets: (bf16, fp32 without TF32)
    "H200": (989e12, 67e12),
    "H100 PCIe": (756e12, 51e12),
    "H100": (989e12, 67e12),
    "A100": (312e12, 19.5e12),
    "L40S": (362e12, 91.6e12),
    "A10": (125e12, 31.2e12),
    "L4": (121e12, 30.3e12),
    "T4": (65e12, 8.1e12),
    "V100": (125e12, 15.7e12),
}


def flops_per_token(model: nn.Module, config: ModelConfig, seq_len: int) -> float:
    """Of training (forward and backward)."""
    if isinstance(config, TTTLMConfig):
        return plan(config, tokens=seq_len)["flops_per_token"]
    looked_up = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    tied = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    used = sum(p.numel() for p in model.parameters() if p.ndim >= 2 and (id(p) not in looked_up or id(p) in tied))
    return 6.0 * used


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s of the device at its best: the data sheet's on a known GPU, a measured product of matrices on the CPU (at
    the threads in use); ``None`` where neither is there."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        found = next((peaks for key, peaks in _PEAKS.items() if key in name), None)
        return None if found is None else found[0 if precision == "bf16" else 1]
    return _measured(torch.bfloat16 if precision == "bf16" else torch.float32) if device.type == "cpu" else None


def _measured(dtype: torch.dtype, size: int = 512, budget_s: float = 0.05) -> float:
    """The fastest of some products of two square matrices."""
    with torch.no_grad():
        a, b = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
        out, best, end = torch.empty_like(a), float("inf"), time.perf_counter() + budget_s
        while time.perf_counter() < end or best == float("inf"):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best


@dataclass(frozen=True)
class Pace:
    """``mfu``: None where the device's peak is not known."""

    tokens_per_s: float
    seconds_a_step: float
    mfu: float | None


class Meter:
    """The pace of a run, of all its processes together, since the last look at it."""

    def __init__(self, trainer: "Trainer") -> None:
        self._trainer = trainer
        self._flops = trainer.flops_per_token
        self._peak: float | None = None
        self._known = False
        self._at = self._start = time.monotonic()
        self._step = self._first = trainer.step

    def read(self) -> Pace:
        trainer, config, now = self._trainer, self._trainer.config, time.monotonic()
        tokens = (trainer.step - self._step) * config.batch_size * config.seq_len * config.accumulate
        rate = tokens * trainer.world.size / max(now - self._at, 1e-9)
        a_step = (now - self._start) / max(trainer.step - self._first, 1)
        if not self._known:  # after the first steps: the threads are set, and the core is awake
            self._peak, self._known = peak_flops(trainer.device, config.precision), True
        peak = self._peak
        mfu = None if not peak else self._flops * rate / (peak * trainer.world.size)
        self._at, self._step = time.monotonic(), trainer.step
        return Pace(rate, a_step, mfu)
