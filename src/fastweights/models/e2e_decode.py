"""Token by token through a TTT-E2E model whose fast weights stay as they are.

One sequence; the methods are those of :class:`fastweights.models.ttt_lm_decode.TTTDecoder`.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.models.e2e import Carry, E2ETransformer


class E2EDecoder:
    """What the model answers where nothing is learned: constant cost and memory a token."""

    def __init__(self, lm: E2ETransformer) -> None:
        self._lm = lm
        self.load(lm.init_carry(1))

    def load(self, carry: Carry) -> None:
        """Continue from a carry of one sequence (B = 1)."""
        self._carry = {name: value.to(self._lm.head.weight.device) for name, value in carry.items()}

    def carry(self) -> Carry:
        return dict(self._carry)

    def step(self, token: int) -> NDArray[np.float32]:
        """Reads one token and returns ``h_D``, the hidden state after the final norm."""
        with torch.no_grad():
            tokens_BT = torch.tensor([[token]], device=self._lm.head.weight.device)
            h_BTD, self._carry = self._lm.hidden(tokens_BT, self._carry)
        return h_BTD[0, 0].float().cpu().numpy()

    def logits(self, h_D: NDArray[np.float32]) -> NDArray[np.float32]:
        """Next-token logits ``(V,)`` of a hidden state."""
        with torch.no_grad():
            h = torch.from_numpy(h_D).to(self._lm.head.weight)
            return self._lm.logits(h).float().cpu().numpy()
