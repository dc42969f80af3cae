"""A linear map beside the frozen head, ``logits + W A h``, that follows its own loss with a preconditioned gradient.

The plain gradient moves most along what all hidden states share. Times the inverse of their mean outer product (of a
text that ships, read once) it moves as far along each direction, as Newton's method for least squares would: on
held-out text that gains twice as much as the plain one (docs/LOG.md).

Shape suffixes: B sequences, T positions, D hidden width, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastweights.models.adapted_lm import RecurrentLM

_RIDGE = 0.1  # of the mean variance of a direction
_LARGEST = 1024  # width up to which directions are told apart
_PIECE = 512  # tokens read at once


@dataclass(frozen=True, eq=False)
class Adapter:
    """``precondition_DD`` is scaled such that a step of rate r moves the target's logit by about r."""

    head_VD: Tensor
    precondition_DD: Tensor

    @staticmethod
    def of(lm: RecurrentLM, sample: Tensor) -> Adapter:
        """From the hidden states of ``sample`` (int64, at least one token)."""
        states, carry = [], lm.init_carry(1)
        with torch.no_grad():
            for piece in sample.to(lm.head.weight.device).split(_PIECE):
                h_BTD, carry = lm.hidden(piece[None], carry)
                states.append(h_BTD[0].float())
            h_TD, head_VD = torch.cat(states).cpu(), lm.head.weight.float().cpu()
            p_V = torch.zeros(len(head_VD))
            for state in states:
                p_V += lm.logits(state).float().softmax(-1).sum(0).cpu()
            second_DD = h_TD.mT @ h_TD / len(h_TD)
            second_DD += _RIDGE * second_DD.diagonal().mean() * torch.eye(len(second_DD)) + 1e-12
            if len(second_DD) > _LARGEST:
                second_DD = second_DD.diagonal().diag()
            inverse_DD = torch.linalg.inv(second_DD)
            size = (h_TD @ inverse_DD * h_TD).sum(1).mean() * (p_V / len(h_TD)) @ head_VD.square().sum(1)
        return Adapter(head_VD, inverse_DD / size.clamp(min=1e-6))

    def added(self, map_BDD: Tensor, h_BTD: Tensor) -> Tensor:
        """What is added to the logits, ``[B, T, V]``."""
        return (h_BTD @ map_BDD.mT) @ self.head_VD.T

    def step(self, error_BTV: Tensor, h_BTD: Tensor, rate: float) -> Tensor:
        """The change of the map; ``error_BTV`` is the softmax less the target, 0 where nothing counts."""
        return -rate * (error_BTV @ self.head_VD).mT @ (h_BTD @ self.precondition_DD)

    def pullback(self, g_BTV: Tensor, h_BTD: Tensor) -> Tensor:
        """Gradient for the map of a loss whose gradient for what is added is ``g``."""
        return (g_BTV @ self.head_VD).mT @ h_BTD
