"""Short causal convolution over time, one filter a channel. Legend: B sequences, T time, D channels, K taps.

Slow twin: :func:`fastweights.layers.naive.causal_conv`.
"""

import torch
from torch import Tensor, nn


class CausalConv(nn.Module):
    """``y_t = sum_k w_k * x_{t-k} (+ bias)`` per channel; ``weight`` is (K, D), its row 0 the current step."""

    def __init__(self, dim: int, taps: int, *, bias: bool = False) -> None:
        super().__init__()
        self.taps = taps
        self.weight = nn.Parameter(torch.zeros(taps, dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None
        with torch.no_grad():
            self.weight[0] = 1.0

    def init_carry(self, batch: int) -> Tensor:
        """The K-1 inputs before the first: zeros (B, K-1, D)."""
        return self.weight.new_zeros(batch, self.taps - 1, self.weight.shape[1])

    def forward(self, x_BTD: Tensor, past_BKD: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``(y_BTD, past_BKD)``; the second is the last K-1 inputs, for the next call."""
        T = x_BTD.shape[1]
        x_BSD = torch.cat([past_BKD.to(x_BTD.dtype), x_BTD], dim=1)  # S = K-1 + T
        y_BTD = x_BTD * self.weight[0] if self.bias is None else torch.addcmul(self.bias, x_BTD, self.weight[0])
        for k in range(1, self.taps):
            start = self.taps - 1 - k
            y_BTD = torch.addcmul(y_BTD, x_BSD[:, start : start + T], self.weight[k])
        return y_BTD, x_BSD[:, T:]
