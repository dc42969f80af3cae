"""Where the tokens of one call stand: positions, and places in the chunks of each sequence.

A sequence's chunks are counted in tokens that it has learned from, so sequences of one batch may stand at different
places. Padding at the right end of a row neither learns nor moves the position.

Legend: B sequences, T tokens of the call, N chunks, P sequences times heads, L tokens of a chunk, D width of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.layers.rope import rotations
from fastweights.layers.ttt_config import TTTConfig


@dataclass(frozen=True, eq=False)
class Span:
    """``phases``: tokens in each sequence's open chunk. ``lengths``: how many of the T tokens are real, None: all."""

    config: TTTConfig
    tokens: int
    positions: list[int]
    phases: list[int]
    lengths: list[int] | None
    device: torch.device
    dtype: torch.dtype

    @staticmethod
    def of(
        config: TTTConfig,
        tokens: int,
        position_B: Tensor,
        phase_B: Tensor,
        lengths: Sequence[int] | None,
        dtype: torch.dtype,
    ) -> "Span":
        """Reads the counters (one look at the device). Raises ValueError where ``lengths`` do not fit."""
        real = None if lengths is None else [int(n) for n in lengths]
        if real is not None and (len(real) != len(position_B) or not all(0 <= n <= tokens for n in real)):
            raise ValueError(f"lengths {real}: give {len(position_B)} numbers from 0 to {tokens}, one a sequence")
        if real is not None and all(n == tokens for n in real):
            real = None
        positions, phases = position_B.tolist(), phase_B.tolist()
        return Span(config, tokens, positions, phases, real, position_B.device, dtype)

    @cached_property
    def counts(self) -> list[int]:
        """Real tokens of each sequence."""
        return [self.tokens] * len(self.phases) if self.lengths is None else self.lengths

    @cached_property
    def full(self) -> list[int]:
        """Chunks of each sequence that are full after the call; the open one at its start counts as its first."""
        return [(p + n) // self.config.chunk for p, n in zip(self.phases, self.counts, strict=True)]

    @cached_property
    def chunks(self) -> int:
        """Chunks that hold all tokens."""
        return max(1, max(-(-(p + n) // self.config.chunk) for p, n in zip(self.phases, self.counts, strict=True)))

    @cached_property
    def hot(self) -> range:
        """The chunks that are full in every sequence and of this call's tokens only."""
        first = 1 if any(self.phases) else 0
        return range(first, max(first, min(self.full)))

    @cached_property
    def rotations(self) -> Tensor:
        """For :func:`fastweights.layers.rope.rotate`: ``[T, 1, D/2]``, or with B in front where positions differ."""
        same = len(set(self.positions)) == 1
        start = torch.tensor(self.positions[:1] if same else self.positions, device=self.device)
        position_BT = start[:, None] + torch.arange(self.tokens, device=self.device)
        if self.config.rope_mod_chunk:
            position_BT = position_BT % self.config.chunk
        turns = rotations(position_BT, self.config.head_dim, self.config.rope_theta, self.dtype)
        return turns[0] if same else turns

    @cached_property
    def _phase(self) -> int | None:
        return self.phases[0] if len(set(self.phases)) == 1 else None

    def valid(self, chunk: int) -> Tensor:
        """1 where a chunk's place holds a real token of this call: ``[P, L, 1]``."""
        L, heads = self.config.chunk, self.config.heads
        place_L = torch.arange(chunk * L, (chunk + 1) * L, device=self.device)
        start_B1 = torch.tensor(self.phases, device=self.device)[:, None]
        stop_B1 = start_B1 + torch.tensor(self.counts, device=self.device)[:, None]
        real_BL = (place_L >= start_B1) & (place_L < stop_B1)
        return real_BL.to(self.dtype).repeat_interleave(heads, 0).unsqueeze(-1)

    def cut(self, x_BTHD: Tensor) -> Tensor:
        """Into chunks: ``[N, P, L, D]``, contiguous; places without a token hold anything finite."""
        B, _, H, D = x_BTHD.shape
        N, L = self.chunks, self.config.chunk
        if self._phase is None:
            x_BTHD = self._pick(x_BTHD, N * L, -1)
        elif self._phase or self.tokens != N * L:
            x_BTHD = F.pad(x_BTHD, (0, 0, 0, 0, self._phase, N * L - self._phase - self.tokens))
        return x_BTHD.view(B, N, L, H, D).permute(1, 0, 3, 2, 4).reshape(N, B * H, L, D)

    def join(self, y_NPLD: Tensor) -> Tensor:
        """The inverse of :meth:`cut`: ``[B, T, H D]``; padding holds anything finite."""
        N, P, L, D = y_NPLD.shape
        B = len(self.phases)
        y_BSHD = y_NPLD.view(N, B, P // B, L, D).permute(1, 0, 3, 2, 4).reshape(B, N * L, P // B * D)
        if self._phase is None:
            return self._pick(y_BSHD, self.tokens, 1)
        if self._phase or self.tokens != N * L:
            y_BSHD = F.pad(y_BSHD, (0, 0, -self._phase, self._phase + self.tokens - N * L))
        return y_BSHD

    def _pick(self, x: Tensor, size: int, sign: int) -> Tensor:
        """``size`` steps of time, those of each sequence shifted by its phase."""
        shift_B1 = torch.tensor(self.phases, device=self.device)[:, None] * sign
        index_BS = (torch.arange(size, device=self.device) + shift_B1).clamp(0, x.shape[1] - 1)
        return x[torch.arange(len(x), device=self.device)[:, None], index_BS]

    def window(self, past_and_now: Tensor, keep: int) -> Tensor:
        """The last ``keep`` real steps of ``[B, keep + T, D]``: a convolution's window for the next call."""
        if self.lengths is None:
            return past_and_now[:, self.tokens :]
        index_BK = torch.tensor(self.lengths, device=self.device)[:, None] + torch.arange(keep, device=self.device)
        return past_and_now[torch.arange(len(index_BK), device=self.device)[:, None], index_BK]
