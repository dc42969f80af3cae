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
from fastweights.models.memory.mixing import kind, mix, nats, rows
from fastweights.models.memory.online_mix import GATE, LOGIT, MAP, RUN, OnlineMix
from fastweights.models.memory.token_steps import inputs

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
        self._gate_1RC = state.weights[GATE].numpy()
        self._add: Array | None = None  # what is added to the logits of a hidden state, V x D, in the order of leaves
        if MAP in state.weights:
            self._add = (state.weights[MAP][0] @ learner.adapter.white_DF.T).numpy()
        self.past: dict[str, Array] = {
            name: state.carry[name].numpy().copy() for name in ("past_BP", "word_B3", "fared_B")
        }
        self._kind = 0  # of the last character
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
            past["fared_B"] = np.array([loss / math.log(tree.nodes + 1)], np.float32)
        self._kind = kind(int(self._learner.words.last_V[token]))
        token_11 = np.array([[token]])
        word_113 = self._learner.words.hashes(token_11, past["word_B3"].view(np.uint64))
        self._hash_1K = self._learner.decider.contexts.hashes(token_11, past["past_BP"], word_113)[0]
        seen_1S = np.append(past["past_BP"], token_11 + 1, axis=1)
        past["past_BP"] = seen_1S[:, 1:]
        past["word_B3"] = word_113[:, 0].view(np.int64).copy()
        return self._frozen.step(token)

    def logits(self, h_D: Array) -> Array:
        """Log-probabilities ``(V,)``."""
        learner, tree = self._learner, self._learner.tree
        logits_1V = self._frozen.logits(h_D)[None]
        self._last = frozen_N = tree.split(logits_1V[:, tree.leaf_V]).log_odds(tree, self._none_N, self._all_N)
        short, long = learner.decider.short, learner.decider.long
        K, N = len(short), tree.nodes
        at_NK = at_nodes(self._hash_1K[:, short], self._none_N, self._all_N, learner.config.bits)
        value_1U = self._weights[LOGIT].read(torch.from_numpy(at_NK)).numpy().reshape(1, N * K)
        runs = successors.places(self._hash_1K[:, long], np.zeros(1, np.int64), learner.config.bits - 1)
        entries = successors.entries(self._weights[RUN], runs)
        input_NC, _ = inputs(
            learner.size, frozen_N, value_1U, self._none_N, np.arange(N * K).reshape(N, K),
            *successors.read(*entries, runs.batch_P, runs.check_PJ, runs.inverse_PJ), self._none_N, self._all_N,
            self._depth_N, tree.node_VD, tree.bit_VD, tree.on_VD,
        )  # fmt: skip
        if self._add is not None:
            adapted = tree.split(logits_1V[:, tree.leaf_V] + self._add @ h_D)
            input_NC[:, -1] = adapted.log_odds(tree, self._none_N, self._all_N) - frozen_N
        past = self.past["fared_B"].astype(np.float64), np.array([self._kind]), self.past["word_B3"][:, 2]
        row_NS = rows(frozen_N, self._depth_N, self._none_N, past[0], past[1], past[2].copy())
        odds_N, _ = mix(input_NC, self._gate_1RC, self._none_N, row_NS)
        return tree.log_probabilities(odds_N)
