"""A change of the head in white features, ``logits + A z``, that follows its own loss by plain steps.

The gradient in hidden states h moves most along what they all share. ``z = W h`` has the same variance in each of its
directions, the main ones of the hidden states of a text that ships, read once: a step in it is Newton's for least
squares. On held-out text it gains twice as much as one in h (docs/LOG.md).

Shape suffixes: B sequences, T positions, D hidden width, F features, V vocabulary (in the order of the tree's leaves).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastweights.models.adapted_lm import RecurrentLM

_RIDGE = 0.1  # of the mean variance of a direction
_RANK, _ENTRIES = 128, 2**17  # features, and the most weights: fewer features for a large vocabulary
_SIZE = 1000.0  # mean |z|^2: the larger, the more of what a guard's projection takes away is taken from the map
_PIECE = 512  # tokens read at once


@dataclass(frozen=True, eq=False)
class Adapter:
    """``white_DF`` gives features of length ``_SIZE ** 0.5``."""

    vocab: int
    white_DF: Tensor

    @staticmethod
    def of(lm: RecurrentLM, sample: Tensor) -> Adapter:
        """From the hidden states of ``sample`` (int64, at least one token)."""
        vocab, dim = lm.head.weight.shape
        rank = min(dim, _RANK, max(1, _ENTRIES // vocab))
        states, carry = [], lm.init_carry(1)
        with torch.no_grad():
            for piece in sample.to(lm.head.weight.device).split(_PIECE):
                h_BTD, carry = lm.hidden(piece[None], carry)
                states.append(h_BTD[0].float().cpu())
            h_TD = torch.cat(states)
            second_DD = h_TD.mT @ h_TD / len(h_TD)
            ridge = _RIDGE * second_DD.diagonal().mean() + 1e-12
            value_F, vector_DF = (part[..., -rank:] for part in torch.linalg.eigh(second_DD))
            white_DF = vector_DF * (value_F + ridge).rsqrt()
            size = (h_TD @ white_DF).square().sum(1).mean()
        return Adapter(vocab, white_DF * (_SIZE / size.clamp(min=1e-6)).sqrt())

    def init(self, batch: int) -> Tensor:
        return torch.zeros(batch, self.vocab, self.white_DF.shape[1])

    def features(self, h_BTD: Tensor) -> Tensor:
        return h_BTD @ self.white_DF

    def added(self, map_BVF: Tensor, z_BTF: Tensor) -> Tensor:
        """What is added to the logits, ``[B, T, V]``; a map of one sequence (B = 1) is that of all."""
        return z_BTF @ (map_BVF[0] if len(map_BVF) == 1 else map_BVF).mT

    def step(self, error_BTV: Tensor, z_BTF: Tensor, rate: float) -> Tensor:
        """The change of the map that moves the target's logit at each position by about ``rate``."""
        return self.pullback(error_BTV, z_BTF * (-rate / _SIZE))

    def pullback(self, g_BTV: Tensor, z_BTF: Tensor) -> Tensor:
        """Gradient for the map of a loss whose gradient for what is added is ``g``."""
        return g_BTV.mT @ z_BTF
