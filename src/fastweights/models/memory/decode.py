"""Lean decoding with a memory beside the head: a decoder of the frozen model, and what becomes of its logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fastweights.core.state import FastState
from fastweights.models.decoding import SequenceDecoder
from fastweights.models.memory import successors
from fastweights.models.memory.contexts import at_nodes
from fastweights.models.memory.mixing import level, mix, nats
from fastweights.models.memory.online_mix import GATE, LOGIT, MAP, RUN, OnlineMix, inputs

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
        self._weights = state.weights
        self._gate_1LCN = state.weights[GATE].numpy()
        self._add: Array | None = None  # what is added to the logits of a hidden state, V x D, in the order of leaves
        if MAP in state.weights:
            self._add = (state.weights[MAP][0] @ learner.adapter.white_DR.T).numpy()
        self.past: dict[str, Array] = {
            name: state.carry[name].numpy().copy() for name in ("past_BP", "word_B2", "loss_BW")
        }
        self._hash_1K: Array = np.zeros((1, 0), np.uint64)
        self._last: Array | None = None  # the frozen log odds that the next token will be judged by
        tree = learner.tree
        self._all_N = np.arange(tree.nodes)
        self._none_N, self._depth_N = np.zeros_like(self._all_N), np.zeros_like(self._all_N)
        token_M, depth_M = tree.on_VD.nonzero()
        self._depth_N[tree.node_VD[token_M, depth_M]] = depth_M

    def step(self, token: int) -> Array:
        tree, past = self._learner.tree, self.past
        if self._last is not None:
            on_D = tree.on_VD[token]
            pairs = zip(self._last[tree.node_VD[token, on_D]], tree.bit_VD[token, on_D], strict=True)
            loss = sum(nats(odds, bit) for odds, bit in pairs)
            past["loss_BW"] = np.append(past["loss_BW"][:, 1:], np.array([[loss]], np.float32), axis=1)
        token_11 = np.array([[token]])
        word_112 = self._learner.words.hashes(token_11, past["word_B2"].view(np.uint64))
        self._hash_1K = self._learner.contexts.hashes(token_11, past["past_BP"], word_112)[0]
        seen_1S = np.append(past["past_BP"], token_11 + 1, axis=1)
        past["past_BP"] = seen_1S[:, 1:]
        past["word_B2"] = word_112[:, 0].view(np.int64).copy()
        return self._frozen.step(token)

    def logits(self, h_D: Array) -> Array:
        """Log-probabilities ``(V,)``."""
        learner, tree = self._learner, self._learner.tree
        logits_1V = self._frozen.logits(h_D)[None]
        self._last = frozen_N = tree.split(logits_1V[:, tree.leaf_V]).log_odds(tree, self._none_N, self._all_N)
        short, long = learner.columns
        K, N = len(short), tree.nodes
        at_NK = at_nodes(self._hash_1K[:, short], self._none_N, self._all_N, learner.config.bits)
        value_1U = self._weights[LOGIT].read(torch.from_numpy(at_NK)).numpy().reshape(1, N * K)
        runs = successors.places(self._hash_1K[:, long], np.zeros(1, np.int64), learner.config.bits - 1)
        input_NC, _ = inputs(
            len(learner.banded_C), frozen_N, value_1U, self._none_N, np.arange(N * K).reshape(N, K),
            *successors.read(self._weights[RUN], runs), self._none_N, self._all_N, self._depth_N,
            tree.node_VD, tree.bit_VD, tree.on_VD,
        )  # fmt: skip
        if self._add is not None:
            adapted = tree.split(logits_1V[:, tree.leaf_V] + self._add @ h_D)
            input_NC[:, -1] = adapted.log_odds(tree, self._none_N, self._all_N) - frozen_N
        strange = level(self.past["loss_BW"], math.log(N + 1))[0, -1]
        odds_N, _ = mix(input_NC, self._gate_1LCN, self._none_N, np.full(N, strange), learner.banded_C)
        return tree.log_probabilities(odds_N)
