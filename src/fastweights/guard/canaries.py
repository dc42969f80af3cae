"""Canaries: small texts (or trajectories) whose loss must not rise. Scored, never learned, never logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from fastweights.core.learner import Learner
from fastweights.core.state import Chunk, FastState, Weights, expand


class Measured(NamedTuple):
    """Canary losses by name, nats per token, and their gradients stacked ``[n, ...]`` by weight."""

    losses: Mapping[str, float]
    grads: Weights


@dataclass(frozen=True, eq=False)
class Canaries:
    """``n`` canaries as one batched chunk, each read from a fresh carry, so one pass scores them all."""

    names: tuple[str, ...]
    chunk: Chunk  # B = n
    start: FastState  # where every canary begins: the learner's initial state at B = n, without its weights

    @staticmethod
    def prepare(learner: Learner, names: Sequence[str], chunk: Chunk) -> "Canaries":
        """``chunk`` holds one canary a row. What no fast weight touches is computed here, once."""
        if len(names) != chunk.targets_BT.shape[0]:
            raise ValueError(f"{len(names)} canary names for {chunk.targets_BT.shape[0]} rows")
        start = replace(learner.init(len(names)), weights={}, rule={})
        return Canaries(tuple(names), learner.prepare(chunk, start.carry), start)

    def measure(self, learner: Learner, weights: Weights) -> "Measured":
        """Mean loss of each canary under one sequence's ``weights`` (B = 1), and their gradients, in one pass."""
        loss_n, grads = learner.score_and_grad(self._state(weights), self.chunk)
        return Measured(dict(zip(self.names, loss_n.tolist(), strict=True)), grads)

    def _state(self, weights: Weights) -> FastState:
        return replace(self.start, weights=expand(weights, len(self.names)))


def token_rows(rows: Sequence[Sequence[int]], bos: int) -> Chunk:
    """Pad token rows to one chunk ``[n, T]``, each read after ``bos``; padding is masked out of the loss."""
    if not rows or not all(rows):
        raise ValueError("a canary is empty: give each at least one token")
    longest = max(len(row) for row in rows)
    targets = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        targets[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    first = torch.full((len(rows), 1), bos, dtype=torch.long)
    return Chunk(torch.cat([first, targets[:, :-1]], dim=1), targets, mask)


def largest_rise(after: Mapping[str, float], before: Mapping[str, float]) -> float | None:
    """The largest rise over all canaries, NaN if any value is not a number, None without canaries."""
    rises = [after[name] - before[name] for name in before if name in after]
    if not rises:
        return None
    return max(rises) if all(rise == rise for rise in rises) else float("nan")
