"""Hashed n-gram fast weights and an adapter of the head, mixed with the frozen model by weights that learn on the way.

A token is a path of yes/no decisions (:mod:`token_tree`), and each decision mixes log odds (:mod:`mixing`): the frozen
model's; one for each short context, of how the decisions after the same last tokens or words went so far, in one hashed
table, learned in closed form with a rate that falls as 1 / count; one for each long context, for the token that came
last after it (:mod:`successors`); and what a map beside the head changes, which follows its own loss (:mod:`adapter`).
An unseen context says 0 and the map begins at 0, so a session that has read nothing answers as the frozen model. The
mix follows the gradient of the loss with Adagrad's rate, so that what does not help is turned down.

A chunk's proposal is made of one step a token (:mod:`token_steps`): each is predicted, then learned from, so that the
tables and the mix do not depend on where chunks end; the map takes one step a chunk.

Legend: B sequences, T positions, P counted positions, K short and J long contexts, M decisions, U entries that a chunk
touches, C inputs of the mix, R rows of its weights, V vocabulary (in the order of the tree's leaves), F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import InnerOutput, Proposal
from fastweights.core.state import Chunk, FastState, Weights, add
from fastweights.core.table import RowDelta, Table
from fastweights.models.adapted_lm import RecurrentLM
from fastweights.models.memory import successors
from fastweights.models.memory.adapter import Adapter
from fastweights.models.memory.contexts import Words
from fastweights.models.memory.decisions import Decider, Decisions
from fastweights.models.memory.mixing import ROWS, mix, mix_gradient
from fastweights.models.memory.token_steps import inputs, learn, losses, scattered, slopes
from fastweights.models.memory.token_tree import Split, TokenTree

Array = NDArray[Any]
LOGIT, RUN, MAP, GATE = "ngram.logit", "ngram.run", "adapter.map", "mix.gate"
FEATURES = "features"


@dataclass(frozen=True)
class MixConfig:
    """``short``, ``long``: lengths of the contexts in tokens; two of words come after the short ones. ``bits``: the
    table of decisions has ``2 ** bits`` entries of 4 bytes and a count, that of runs half as many, of 8 bytes.

    ``prior_count`` is how many observations of "even" a decision begins with, ``horizon`` where its rate stops falling;
    ``trust``, ``trust_long`` and ``trust_map`` are the first weights in the mix; ``rate`` is Adagrad's (0: the mix
    stays as it is), ``map_rate`` the map's step (0: there is none).
    """

    short: tuple[int, ...] = (1, 2, 3, 4)
    long: tuple[int, ...] = (6, 8, 12, 16, 20, 24, 32)
    bits: int = 22
    prior_count: float = 0.2
    horizon: float = 30.0
    trust: float = 0.08
    trust_long: float = 0.15
    trust_map: float = 0.5
    rate: float = 0.1
    map_rate: float = 0.8


class _Features(NamedTuple):
    """What no fast weight touches of a chunk; ``z_BTF`` are the map's, None without one."""

    decisions: Decisions
    z_BTF: Tensor | None
    carry: dict[str, Any]


class _Read(NamedTuple):
    """Under weights that stay."""

    input_MC: Array
    side_MJ: Array  # of the long contexts, what their strength is multiplied by
    adapted: Split | None  # the logits with the map
    odds_M: Array
    slope_MC: Array


@dataclass(frozen=True, eq=False)
class OnlineMix:
    """A :class:`~fastweights.core.learner.Learner`: ``lm`` in eval mode, its tables on the CPU.

    The carry is ``{"lm", "last_B", …}``: the model's, the last token (its successor is not known yet), and the
    :class:`~fastweights.models.memory.decisions.Decider`'s. A proposal's ``output`` is of reading while learning; it
    has no ``grads``: most of a write follows closed forms. ``sample``: tokens of a text that ships, for the adapter.
    """

    lm: RecurrentLM
    tree: TokenTree
    words: Words
    sample: Tensor
    bos: int
    config: MixConfig = MixConfig()

    @cached_property
    def decider(self) -> Decider:
        c = self.config
        return Decider(self.tree, self.words, c.short, c.long, c.bits)

    @cached_property
    def adapter(self) -> Adapter:
        return Adapter.of(self.lm, self.sample)

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    @property
    def size(self) -> int:
        """Inputs of the mix."""
        return 3 + len(self.config.short) + len(self.config.long) + bool(self.config.map_rate)

    # ------------------------------------------------------------ the learner

    def init(self, batch: int = 1) -> FastState:
        c, size = self.config, 2**self.config.bits
        K, J = len(c.short) + 2, len(c.long)
        gate_BRC = torch.ones(batch, ROWS, self.size)
        gate_BRC[:, :, 1 : 1 + K] = c.trust
        gate_BRC[:, :, 1 + K : 1 + K + J] = c.trust_long
        weights = {LOGIT: Table.zeros(batch, size), RUN: Table.zeros(batch, size // 2, tagged=True), GATE: gate_BRC}
        if c.map_rate:
            gate_BRC[:, :, -1] = c.trust_map
            weights[MAP] = self.adapter.init(batch)
        rule = {"count": {LOGIT: Table.zeros(batch, size, torch.uint8)}, "square": {GATE: torch.ones_like(gate_BRC)}}
        carry = {
            "lm": self.lm.init_carry(batch),
            "last_B": torch.full((batch,), self.bos, device=self.device),
            **self.decider.init_carry(batch),
        }
        return FastState(weights, rule, carry)

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        if FEATURES in chunk.inputs:
            return chunk
        with torch.no_grad():
            h_BTD, after = self.lm.hidden(chunk.tokens_BT.to(self.device), carry["lm"])
            logits_BTV = self.lm.logits(h_BTD).float().cpu().numpy()
        decisions, context = self.decider.decide(chunk, logits_BTV, carry)
        z_BTF = self.adapter.features(h_BTD.float().cpu()) if self.config.map_rate else None
        last_B = chunk.targets_BT[:, -1].clone(memory_format=torch.contiguous_format).to(self.device)
        after_all = {"lm": after, "last_B": last_B, **context}
        features = {"mix": _Features(decisions, z_BTF, after_all), "carry": after_all}
        return chunk._replace(inputs={**chunk.inputs, FEATURES: features})

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("the online mix learns in closed form, without a graph: leave create_graph out")
        features = self._features(chunk, state.carry)
        d = features.decisions
        before, c, tree = state.weights, self.config, self.tree
        rows_U, counts = torch.from_numpy(d.rows_U), state.rule["count"][LOGIT]
        of_all = rows_U.expand(len(d.tokens_B), -1)
        old_BU, count_BU = before[LOGIT].read(of_all).numpy(), counts.read(of_all).numpy()
        runs = successors.entries(before[RUN], d.runs)
        value_BU, (run_BU, tag_BU) = old_BU.copy(), (part.copy() for part in runs)
        gate_BRC, square_BRC = before[GATE].clone(), state.rule["square"][GATE].clone()
        adapted, added_M = self._adapted(before, features)
        sum_B = learn(
            d.frozen_M, added_M, d.bit_M, d.place_M, d.node_M, d.depth_M, d.inverse_MK, d.row_MS, d.runs.batch_P,
            d.target_P, d.runs.check_PJ, d.runs.inverse_PJ, tree.node_VD, tree.bit_VD, tree.on_VD, c.prior_count,
            c.horizon, c.rate, value_BU, count_BU, run_BU, tag_BU, gate_BRC.numpy(), square_BRC.numpy(),
        )  # fmt: skip
        change_BU = value_BU - old_BU
        delta: dict[str, Any] = {
            LOGIT: RowDelta(rows_U, torch.from_numpy(change_BU)),
            GATE: gate_BRC - before[GATE],
        }
        tables = {LOGIT: before[LOGIT].replaced(rows_U, torch.from_numpy(old_BU + change_BU))}
        delta[RUN], tables[RUN] = successors.written(before[RUN], d.runs, runs, (run_BU, tag_BU))
        if adapted is not None:
            assert features.z_BTF is not None
            delta[MAP] = self.adapter.step(self._errors(d, adapted), features.z_BTF, c.map_rate)
        weights = {**add({k: w for k, w in before.items() if k not in tables}, delta), **tables}
        rule = {"count": {LOGIT: counts.replaced(rows_U, torch.from_numpy(count_BU))}, "square": {GATE: square_BRC}}
        after = FastState({k: weights[k] for k in before}, rule, features.carry, state.step + 1)
        output = InnerOutput(_means(sum_B, d), features.carry)
        return Proposal(state, delta, after, replace(state, carry=features.carry), output, None)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        features = self._features(chunk, state.carry)
        return _loss_B(features.decisions, self._read(state.weights, features))

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        features = self._features(chunk, state.carry)
        read = self._read(state.weights, features)
        return _loss_B(features.decisions, read), self._grads(features, read)

    # ------------------------------------------------------------ parts

    def _features(self, chunk: Chunk, carry: Any) -> _Features:
        return self.prepare(chunk, carry).inputs[FEATURES]["mix"]

    def _adapted(self, weights: Weights, features: _Features) -> tuple[Split | None, Array]:
        """The distribution with the map, and what it adds to each decision's log odds; without one, neither."""
        d = features.decisions
        if features.z_BTF is None:
            return None, np.zeros(0, np.float32)
        with torch.no_grad():
            leaf_BTV = d.leaf_BTV + self.adapter.added(_own(weights[MAP]), features.z_BTF).numpy()
        adapted = self.tree.split(leaf_BTV.reshape(-1, leaf_BTV.shape[2]))
        return adapted, adapted.log_odds(self.tree, d.position_M, d.node_M) - d.frozen_M

    def _read(self, weights: Weights, features: _Features) -> _Read:
        d = features.decisions
        table: Table = weights[LOGIT]
        value_BU = table.read(torch.from_numpy(d.rows_U).expand(table.shape[0], -1)).numpy()
        at, entries = d.runs, successors.entries(weights[RUN], d.runs)
        input_MC, side_MJ = inputs(
            self.size, d.frozen_M, value_BU, d.batch_M, d.inverse_MK,
            *successors.read(*entries, at.batch_P, at.check_PJ, at.inverse_PJ), d.place_M, d.node_M, d.depth_M,
            self.tree.node_VD, self.tree.bit_VD, self.tree.on_VD,
        )  # fmt: skip
        adapted, added_M = self._adapted(weights, features)
        if adapted is not None:
            input_MC[:, -1] = added_M
        odds_M, slope_MC = mix(input_MC, _own(weights[GATE]).numpy(), d.batch_M, d.row_MS)
        return _Read(input_MC, side_MJ, adapted, odds_M, slope_MC)

    def _grads(self, features: _Features, read: _Read) -> Weights:
        """Of the mean loss a token."""
        d = features.decisions
        share_M = slopes(read.odds_M, d.bit_M) / np.maximum(d.tokens_B, 1)[d.batch_M]
        share_MC = share_M[:, None] * read.slope_MC
        B, U, K = len(d.tokens_B), len(d.rows_U), d.inverse_MK.shape[1]
        values_BU = scattered(share_MC, d.batch_M, d.inverse_MK, B, U)
        share_MC[:, 1 + K : 1 + K + read.side_MJ.shape[1]] *= read.side_MJ
        grads: dict[str, Any] = {
            LOGIT: RowDelta(torch.from_numpy(d.rows_U), torch.from_numpy(values_BU)),
            RUN: successors.gradient(d.runs, B, d.place_M, share_MC, 1 + K),
            GATE: torch.from_numpy(mix_gradient(share_M, read.input_MC, d.batch_M, d.row_MS, B)),
        }
        if read.adapted is not None:
            assert features.z_BTF is not None
            g_TV = read.adapted.pullback(self.tree, d.position_M, d.node_M, share_MC[:, -1].copy())
            grads[MAP] = self.adapter.pullback(torch.from_numpy(g_TV.reshape(d.leaf_BTV.shape)), features.z_BTF)
        return grads

    def _errors(self, d: Decisions, adapted: Split) -> Tensor:
        """Softmax less target, 0 where nothing counts: ``[B, T, V]``."""
        error_TV = adapted.probabilities()
        if len(d.position_P) < len(error_TV):
            error_TV[np.setdiff1d(np.arange(len(error_TV)), d.position_P)] = 0
        error_TV[d.position_P, self.tree.rank_V[d.target_P]] -= 1
        return torch.from_numpy(error_TV.reshape(d.leaf_BTV.shape))


def _own(weight: Tensor) -> Tensor:
    """Of a weight that all sequences share, the one."""
    return weight if weight.stride(0) else weight[:1]


def _loss_B(d: Decisions, read: _Read) -> Tensor:
    return _means(losses(read.odds_M, d.bit_M, d.batch_M, len(d.tokens_B)), d)


def _means(sum_B: Array, d: Decisions) -> Tensor:
    """A token."""
    return torch.from_numpy((sum_B / np.maximum(d.tokens_B, 1)).astype(np.float32))
