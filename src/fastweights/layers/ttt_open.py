"""A chunk that is not full: partial chunks, one-token decoding, and reading without learning.

The anchor W stays until the chunk is full; its steps so far are kept as :class:`~fastweights.layers.ttt_inner.Rows`.
Legend: P sequences times heads, L tokens of a chunk, T tokens, D width of a head.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.layers.ttt_inner import Fast, Inner, Rows, Target, fold, scaled


class Place(NamedTuple):
    """Where the next token of each sequence stands in its chunk, and the row factors of a chunk's places."""

    phases: Sequence[int]
    heads: int
    row_L: Tensor
    strict: bool

    def _differ(self) -> bool:
        return any(p != self.phases[0] for p in self.phases)

    def seen(self, places: Sequence[int]) -> Tensor:
        """Minus the row factor of each sequence's place, for all rows alike: ``[P or 1, 1, L]``."""
        if self._differ():
            row_B = self.row_L[torch.tensor(places, device=self.row_L.device)]
            row_P11 = row_B.repeat_interleave(self.heads).view(-1, 1, 1)
        else:
            row_P11 = self.row_L[places[0]].view(1, 1, 1)
        return -row_P11.expand(-1, -1, len(self.row_L))

    def here(self) -> Tensor:
        """1 in the place of the next token: ``[P or 1, L, 1]``."""
        phases = self.phases if self._differ() else self.phases[:1]
        at_B1 = torch.tensor(phases, device=self.row_L.device)[:, None]
        here_BL = (torch.arange(len(self.row_L), device=self.row_L.device) == at_B1).to(self.row_L.dtype)
        return (here_BL.repeat_interleave(self.heads, 0) if len(phases) > 1 else here_BL).unsqueeze(-1)


def partial_chunk(
    inner: type[Inner],
    fast: list[Fast],
    rows: list[Rows],
    q_PLD: Tensor,
    k_PLD: Tensor,
    c_PL1: Tensor,
    valid_PL1: Tensor,
    target: Target,
    seen_LL: Tensor,
) -> tuple[Tensor, list[Rows]]:
    """``(z_PLD, rows)``: new tokens where ``valid`` is 1, each in its own place in the chunk; ``c`` is 0 elsewhere."""
    new = scaled(inner.pulls(fast, k_PLD, target), c_PL1)
    rows = [Rows(old.a_LD + r.a_LD * valid_PL1, old.u_LF + r.u_LF) for old, r in zip(rows, new, strict=True)]
    return inner.read(fast, q_PLD, rows, seen_LL), rows


def fold_full(
    fast: list[Fast], rows: list[Rows], full: Sequence[bool], heads: int, last: Tensor
) -> tuple[list[Fast], list[Rows]]:
    """Fold the rows of those sequences whose chunk is ``full`` and empty them; the others stay as they are."""
    if not any(full):
        return fast, rows
    folded = [fold(layer, r, last) for layer, r in zip(fast, rows, strict=True)]
    if all(full):
        return folded, [Rows(torch.zeros_like(r.a_LD), torch.zeros_like(r.u_LF)) for r in rows]
    chosen_P11 = torch.tensor(full, device=last.device).repeat_interleave(heads)[:, None, None]
    mixed = [
        Fast(
            torch.where(chosen_P11, new.w_DF, old.w_DF),
            None if new.b_1F is None or old.b_1F is None else torch.where(chosen_P11, new.b_1F, old.b_1F),
        )
        for new, old in zip(folded, fast, strict=True)
    ]
    return mixed, [Rows(*(t.masked_fill(chosen_P11, 0) for t in r)) for r in rows]


def read_only(inner: type[Inner], fast: list[Fast], rows: list[Rows], q_PTD: Tensor, place: Place) -> Tensor:
    """``z_PTD`` of tokens that learn nothing: all see the weights as the last learned token left them."""
    seen_P1L = place.seen([max(p - 1, 0) for p in place.phases])
    return inner.read(fast, q_PTD, rows, seen_P1L)


def anchored_step(
    inner: type[Inner],
    fast: list[Fast],
    rows: list[Rows],
    q_P1D: Tensor,
    k_P1D: Tensor,
    c_P11: Tensor,
    target: Target,
    place: Place,
) -> tuple[Tensor, list[Fast], list[Rows]]:
    """One token in its sequence's chunk: what the prefill of the whole chunk would give there."""
    here_L1, seen_P1L = place.here(), place.seen(place.phases)
    new = scaled(inner.pulls(fast, k_P1D, target), c_P11)
    after = [
        Rows(torch.addcmul(old.a_LD, here_L1, r.a_LD), torch.addcmul(old.u_LF, here_L1, r.u_LF))
        for old, r in zip(rows, new, strict=True)
    ]
    z_P1D = inner.read(fast, q_P1D, rows if place.strict else after, seen_P1L)
    full = [phase + 1 == len(place.row_L) for phase in place.phases]
    return z_P1D, *fold_full(fast, after, full, place.heads, place.row_L[-1])


def online_step(
    inner: type[Inner],
    fast: list[Fast],
    rows: list[Rows],
    q_P1D: Tensor,
    k_P1D: Tensor,
    c_P11: Tensor,
    target: Target,
    *,
    open_chunk: bool,
    strict: bool,
) -> tuple[Tensor, list[Fast], list[Rows]]:
    """One token that steps at the current weights. ``open_chunk``: there are rows, which are folded first."""
    if open_chunk:
        fast = [fold(layer, r) for layer, r in zip(fast, rows, strict=True)]
        rows = [Rows(torch.zeros_like(r.a_LD), torch.zeros_like(r.u_LF)) for r in rows]
    after = [fold(f, r) for f, r in zip(fast, scaled(inner.pulls(fast, k_P1D, target), c_P11), strict=True)]
    return inner.read(fast if strict else after, q_P1D, rows, q_P1D.new_zeros(1, 1)), after, rows
