"""Lean decoding with a memory beside the head: a decoder of the frozen model, and what becomes of its logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.core.state import FastState
from fastweights.models.decoding import SequenceDecoder
from fastweights.models.memory.online_mix import GATE, LOGIT, NODE, OnlineMix, level, mix

Array = NDArray[Any]


class LogitDecoder:
    """``add`` gives what is added to the logits of a hidden state."""

    def __init__(self, frozen: SequenceDecoder, add: Callable[[Array], Array]) -> None:
        self._frozen, self._add = frozen, add
        self.load, self.carry, self.step = frozen.load, frozen.carry, frozen.step

    def logits(self, h_D: Array) -> Array:
        return self._frozen.logits(h_D) + self._add(h_D)


class MixDecoder:
    """One sequence (B = 1) of an :class:`OnlineMix` from a state on, whose weights stay as they are."""

    def __init__(self, frozen: SequenceDecoder, learner: OnlineMix, state: FastState) -> None:
        self._frozen, self._learner = frozen, learner
        self.load, self.carry = frozen.load, frozen.carry
        self._table = state.weights[LOGIT]
        self._gate_1SC, self._node_1NC = state.weights[GATE].numpy(), state.weights[NODE].numpy()
        self._past_P: Array = state.carry["past_BP"][0].numpy().copy()
        self._loss_W: Array = state.carry["loss_BW"][0].numpy().copy()
        self._hash_1K: Array = np.zeros((1, len(learner.config.orders)), np.uint64)
        self._last: Array | None = None  # the frozen logits that the next token will be judged by
        self._all_N = np.arange(learner.tree.nodes)

    @property
    def past(self) -> dict[str, Array]:
        """Of the carry, what is not the model's: ``past_BP`` and ``loss_BW``."""
        return {"past_BP": self._past_P[None].copy(), "loss_BW": self._loss_W[None].copy()}

    def step(self, token: int) -> Array:
        if self._last is not None:
            top = float(self._last.max())
            loss = np.log(np.exp(self._last - top).sum()) + top - self._last[token]
            self._loss_W = np.append(self._loss_W[1:], np.float32(max(float(loss), 0.0)))
        hash_11K = self._learner.contexts.hashes(np.array([[token]]), self._past_P[None])
        self._hash_1K = hash_11K[0]
        self._past_P = np.append(self._past_P, token + 1)[-len(self._past_P) :] if len(self._past_P) else self._past_P
        return self._frozen.step(token)

    def logits(self, h_D: Array) -> Array:
        """Log-probabilities ``(V,)``."""
        tree, contexts = self._learner.tree, self._learner.contexts
        self._last = self._frozen.logits(h_D)
        frozen_N = tree.log_odds(self._last[None])[0]
        slot_NK = contexts.slots(np.broadcast_to(self._hash_1K, (tree.nodes, self._hash_1K.shape[1])), self._all_N)
        strange = int(level(self._loss_W[None], np.log(tree.nodes + 1))[0, -1])
        expert_NK = self._table.read(torch.from_numpy(slot_NK)).numpy()
        read = mix(expert_NK, frozen_N, self._gate_1SC, self._node_1NC, 0, self._all_N, strange)
        return tree.log_probabilities(read.odds_M)
