"""Rotary position embedding, neighbouring channels as a pair.

Legend: B sequences, T time, H heads, D width of a head, C its pairs.
"""

import torch
from torch import Tensor


def rotations(position_T: Tensor, width: int, theta: float, dtype: torch.dtype) -> Tensor:
    """Complex ``(…, T, 1, D / 2)``: pair i turns by ``position * theta^(-2 i / D)`` (Su et al., 2021).

    ``dtype`` is the real one; the angles are computed in fp64, so that far positions keep their precision.
    """
    frequency = theta ** (-torch.arange(0, width, 2, dtype=torch.float64, device=position_T.device) / width)
    angle = position_T.to(torch.float64).unsqueeze(-1) * frequency
    return torch.polar(torch.ones_like(angle), angle).to(dtype.to_complex()).unsqueeze(-2)


def rotate(x_BTHD: Tensor, rotations_T1C: Tensor) -> Tensor:
    """``x`` with each pair of channels turned; fp32 or fp64."""
    pairs = torch.view_as_complex(x_BTHD.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotations_T1C).flatten(-2)
