"""Hashed n-gram fast weights and an adapter of the head, mixed with the frozen model by weights that learn on the way.

A token is a path of yes/no decisions (:mod:`token_tree`), and each decision mixes log odds (:mod:`mixing`): the frozen
model's; one for each short context, of how the decisions after the same last tokens or words went so far, in one hashed
table, learned in closed form with a rate that falls as 1 / count; one for each long context, for the token that came
last after it (:mod:`successors`); and what a map beside the head changes, which follows its own loss (:mod:`adapter`).
An unseen context says 0 and the map begins at 0, so a session that has read nothing answers as the frozen model. The
mix follows the gradient of the loss with Adagrad's rate, so that what does not help is turned down.

Legend: B sequences, T positions, P counted positions, K short and J long contexts, M decisions, U entries that a chunk
touches, C inputs of the mix, L levels, N bands, V vocabulary (in the order of the tree's leaves), R features.
"""

from __future__ import annotations

import math
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
from fastweights.layers.compiled import compiled
from fastweights.models.adapted_lm import RecurrentLM
from fastweights.models.memory import successors
from fastweights.models.memory.adapter import Adapter
from fastweights.models.memory.contexts import Contexts, Words, at_nodes, distinct
from fastweights.models.memory.mixing import LEVELS, WINDOW, level, mix, mix_gradient, nats, sigmoid
from fastweights.models.memory.successors import Places
from fastweights.models.memory.token_tree import LIMIT, Split, TokenTree

Array = NDArray[Any]
LOGIT, RUN, MAP, GATE = "ngram.logit", "ngram.run", "adapter.map", "mix.gate"
FEATURES = "features"


@dataclass(frozen=True)
class MixConfig:
    """``short``, ``long``: lengths of the contexts in tokens; two of words come after the short ones. ``bits``: the
    table of decisions has ``2 ** bits`` entries of 4 bytes and a count, that of runs half as many, of 8 bytes.

    ``prior_count`` is how many observations of "even" a decision begins with, ``horizon`` where its rate stops falling;
    ``trust`` and ``trust_long`` are a context's first weight in the mix at each level, ``trust_map`` the map's;
    ``rate`` is Adagrad's at each level (0: the mix stays as it is), ``bands`` how many degrees of sureness have weights
    of their own, ``map_rate`` the map's step (0: there is none).
    """

    short: tuple[int, ...] = (1, 2, 3, 4)
    long: tuple[int, ...] = (6, 8, 12, 16, 20, 24, 32)
    bits: int = 22
    prior_count: float = 0.4
    horizon: float = 30.0
    trust: tuple[float, float, float] = (0.03, 0.2, 0.25)
    trust_long: tuple[float, float, float] = (0.6, 0.8, 0.8)
    trust_map: float = 0.7
    rate: tuple[float, float, float] = (0.06, 0.2, 0.2)
    bands: int = 6
    map_rate: float = 0.2


class Decisions(NamedTuple):
    """What no fast weight touches of a chunk. ``place_M``: of a decision among the counted positions ``position_P``
    (of B * T); ``level_M``: its level; ``rows_U`` and ``inverse_MK``: its entries;
    ``tokens_B`` counts; ``leaf_BTV``: the frozen logits in the order of leaves; ``z_BTR``: the map's features."""

    batch_M: Array
    place_M: Array
    position_M: Array
    node_M: Array
    depth_M: Array
    bit_M: Array
    frozen_M: Array
    level_M: Array
    rows_U: Array
    inverse_MK: Array
    runs: Places
    target_P: Array
    position_P: Array
    tokens_B: Array
    leaf_BTV: Array
    z_BTR: Tensor | None


class _Read(NamedTuple):
    input_MC: Array
    old_BU: Array  # the table of decisions at its rows
    side_MJ: Array  # of the long contexts, what their strength is multiplied by
    adapted: Split | None  # the logits with the map
    odds_M: Array
    slope_MC: Array


@dataclass(frozen=True, eq=False)
class OnlineMix:
    """A :class:`~fastweights.core.learner.Learner`: ``lm`` in eval mode, its tables on the CPU.

    The carry is ``{"lm", "last_B", "past_BP", "word_B2", "loss_BW"}``: the model's, the last token (its successor is
    not known yet), the tokens before it plus one, the words, and the frozen model's last losses, oldest first (below 0:
    not read yet). A proposal has no ``grads``: most of a write follows closed forms. ``sample``: tokens of a text that
    ships, for the adapter.
    """

    lm: RecurrentLM
    tree: TokenTree
    words: Words
    sample: Tensor
    bos: int
    config: MixConfig = MixConfig()

    @cached_property
    def contexts(self) -> Contexts:
        return Contexts((*self.config.short, *self.config.long))

    @cached_property
    def adapter(self) -> Adapter:
        return Adapter.of(self.lm, self.sample)

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    @cached_property
    def columns(self) -> tuple[Array, Array]:
        """Which contexts' hashes are short (words with them) and long."""
        short, long = len(self.config.short), len(self.config.long)
        return np.r_[:short, short + long, short + long + 1], np.arange(short, short + long)

    @cached_property
    def banded_C(self) -> Array:
        """Which inputs of the mix are contexts."""
        contexts = 2 + len(self.config.short) + len(self.config.long)
        return np.array([False] + [True] * contexts + [False] * bool(self.config.map_rate))

    @cached_property
    def _rate_L11(self) -> Tensor:
        return torch.tensor(self.config.rate)[:, None, None]

    # ------------------------------------------------------------ the learner

    def init(self, batch: int = 1) -> FastState:
        c, size = self.config, 2**self.config.bits
        K, J = len(c.short) + 2, len(c.long)
        gate_BLCN = torch.ones(batch, LEVELS, 1 + K + J + bool(c.map_rate), c.bands)
        gate_BLCN[:, :, 1 : 1 + K] = torch.tensor(c.trust)[:, None, None]
        gate_BLCN[:, :, 1 + K : 1 + K + J] = torch.tensor(c.trust_long)[:, None, None]
        weights = {LOGIT: Table.zeros(batch, size), RUN: Table.zeros(batch, size // 2, tagged=True), GATE: gate_BLCN}
        if c.map_rate:
            gate_BLCN[:, :, -1] = c.trust_map
            weights[MAP] = self.adapter.init(batch)
        rule = {"count": {LOGIT: Table.zeros(batch, size, torch.uint8)}, "square": {GATE: torch.ones_like(gate_BLCN)}}
        carry = {
            "lm": self.lm.init_carry(batch),
            "last_B": torch.full((batch,), self.bos, device=self.device),
            "past_BP": torch.zeros(batch, self.contexts.past, dtype=torch.int64),
            "word_B2": torch.zeros(batch, 2, dtype=torch.int64),
            "loss_BW": torch.full((batch, WINDOW), -1.0),
        }
        return FastState(weights, rule, carry)

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        if FEATURES in chunk.inputs:
            return chunk
        with torch.no_grad():
            h_BTD, after = self.lm.hidden(chunk.tokens_BT.to(self.device), carry["lm"])
            logits_BTV = self.lm.logits(h_BTD).float().cpu().numpy()
        decisions, context = self._decisions(chunk, h_BTD.float().cpu(), logits_BTV, carry)
        last_B = chunk.targets_BT[:, -1].clone(memory_format=torch.contiguous_format).to(self.device)
        features = {"decisions": decisions, "carry": {"lm": after, "last_B": last_B, **context}}
        return chunk._replace(inputs={**chunk.inputs, FEATURES: features})

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("the online mix learns in closed form, without a graph: leave create_graph out")
        features = self.prepare(chunk, state.carry).inputs[FEATURES]
        d: Decisions = features["decisions"]
        read = self._read(state.weights, d)
        before = state.weights
        experts, count = self._expert_delta(state, d, read.old_BU)
        sum_BLCN = self._gate_gradient(d, read, -_slopes(read.odds_M, d.bit_M))
        square_BLCN = state.rule["square"][GATE] + sum_BLCN * sum_BLCN
        delta: dict[str, Any] = {
            LOGIT: experts,
            RUN: successors.write(before[RUN], d.runs, d.target_P),
            GATE: self._rate_L11 * sum_BLCN / square_BLCN.sqrt(),
        }
        if read.adapted is not None:
            assert d.z_BTR is not None
            delta[MAP] = self.adapter.step(self._errors(d, read.adapted), d.z_BTR, self.config.map_rate)
        rule = {"count": {LOGIT: count}, "square": {GATE: square_BLCN}}
        table = before[LOGIT].replaced(experts.rows_N, torch.from_numpy(read.old_BU) + experts.values_BN)
        weights = {**add({k: w for k, w in before.items() if k != LOGIT}, delta), LOGIT: table}
        after = FastState({name: weights[name] for name in before}, rule, features["carry"], state.step + 1)
        output = InnerOutput(self._loss_B(d, read), features["carry"])
        return Proposal(state, delta, after, replace(state, carry=features["carry"]), output, None)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        d: Decisions = self.prepare(chunk, state.carry).inputs[FEATURES]["decisions"]
        return self._loss_B(d, self._read(state.weights, d))

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        d: Decisions = self.prepare(chunk, state.carry).inputs[FEATURES]["decisions"]
        read = self._read(state.weights, d)
        return self._loss_B(d, read), self._grads(d, read)

    # ------------------------------------------------------------ parts

    def _decisions(self, chunk: Chunk, h_BTD: Tensor, logits_BTV: Array, carry: Any) -> tuple[Decisions, Any]:
        """And the carry's part that is not the model's."""
        tokens_BT, targets_BT = chunk.tokens_BT.cpu().numpy(), chunk.targets_BT.cpu().numpy()
        mask_BT, past_BP, B, T = chunk.mask_BT.cpu().numpy(), carry["past_BP"].numpy(), *targets_BT.shape
        position_P = mask_BT.ravel().nonzero()[0]
        target_P = targets_BT.ravel()[position_P]
        place_M, depth_M, node_M, bit_M = _paths(target_P, self.tree.node_VD, self.tree.bit_VD, self.tree.on_VD)
        position_M = position_P[place_M]
        batch_M = position_M // T
        word_BT2 = self.words.hashes(tokens_BT, carry["word_B2"].numpy().view(np.uint64))
        hash_PK = self.contexts.hashes(tokens_BT, past_BP, word_BT2).reshape(B * T, -1)[position_P]
        short, long = self.columns
        rows_U, inverse_MK = distinct(at_nodes(hash_PK[:, short], place_M, node_M, self.config.bits))
        leaf_BTV = logits_BTV[:, :, self.tree.leaf_V]
        frozen_M = self.tree.split(leaf_BTV.reshape(B * T, -1)).log_odds(self.tree, position_M, node_M)
        loss_BT = _losses(frozen_M, bit_M, position_M, B * T).reshape(B, T)
        loss_BS = np.concatenate([carry["loss_BW"].numpy(), np.where(mask_BT, loss_BT, -1)], axis=1, dtype=np.float32)
        level_M = level(loss_BS[:, :-1].copy(), math.log(self.tree.nodes + 1)).ravel()[position_M]
        runs = successors.places(hash_PK[:, long], position_P // T, self.config.bits - 1)
        seen_BS = np.concatenate([past_BP, tokens_BT + 1], axis=1)
        context = {
            "past_BP": torch.from_numpy(seen_BS[:, seen_BS.shape[1] - self.contexts.past :].copy()),
            "word_B2": torch.from_numpy(word_BT2[:, -1].view(np.int64).copy()),
            "loss_BW": torch.from_numpy(loss_BS[:, -WINDOW:].copy()),
        }
        tokens_B = mask_BT.sum(1)
        return Decisions(
            batch_M, place_M, position_M, node_M, depth_M, bit_M, frozen_M, level_M, rows_U, inverse_MK, runs, target_P,
            position_P, tokens_B, leaf_BTV, self.adapter.features(h_BTD) if self.config.map_rate else None,
        ), context  # fmt: skip

    def _read(self, weights: Weights, d: Decisions) -> _Read:
        table: Table = weights[LOGIT]
        old_BU = table.read(torch.from_numpy(d.rows_U).expand(table.shape[0], -1)).numpy()
        token_PJ, strength_PJ = successors.read(weights[RUN], d.runs)
        input_MC, side_MJ = inputs(
            len(self.banded_C), d.frozen_M, old_BU, d.batch_M, d.inverse_MK, token_PJ, strength_PJ, d.place_M, d.node_M,
            d.depth_M, self.tree.node_VD, self.tree.bit_VD, self.tree.on_VD,
        )  # fmt: skip
        adapted = None
        if d.z_BTR is not None:
            with torch.no_grad():
                leaf_BTV = d.leaf_BTV + self.adapter.added(_own(weights[MAP]), d.z_BTR).numpy()
            adapted = self.tree.split(leaf_BTV.reshape(-1, leaf_BTV.shape[2]))
            input_MC[:, -1] = adapted.log_odds(self.tree, d.position_M, d.node_M) - d.frozen_M
        odds_M, slope_MC = mix(input_MC, _own(weights[GATE]).numpy(), d.batch_M, d.level_M, self.banded_C)
        return _Read(input_MC, old_BU, side_MJ, adapted, odds_M, slope_MC)

    def _loss_B(self, d: Decisions, read: _Read) -> Tensor:
        sum_B = _losses(read.odds_M, d.bit_M, d.batch_M, len(d.tokens_B))
        return torch.from_numpy((sum_B / np.maximum(d.tokens_B, 1)).astype(np.float32))

    def _grads(self, d: Decisions, read: _Read) -> Weights:
        """Of the mean loss a token."""
        share_M = _slopes(read.odds_M, d.bit_M) / np.maximum(d.tokens_B, 1)[d.batch_M]
        share_MC = share_M[:, None] * read.slope_MC
        B, U, K = len(d.tokens_B), len(d.rows_U), d.inverse_MK.shape[1]
        values_BU = _scattered(share_MC, d.batch_M, d.inverse_MK, B, U)
        share_MC[:, 1 + K : 1 + K + read.side_MJ.shape[1]] *= read.side_MJ
        grads: dict[str, Any] = {
            LOGIT: RowDelta(torch.from_numpy(d.rows_U), torch.from_numpy(values_BU)),
            RUN: successors.gradient(d.runs, B, d.place_M, share_MC, 1 + K),
            GATE: self._gate_gradient(d, read, share_M),
        }
        if read.adapted is not None:
            assert d.z_BTR is not None
            g_TV = read.adapted.pullback(self.tree, d.position_M, d.node_M, share_MC[:, -1].copy())
            grads[MAP] = self.adapter.pullback(torch.from_numpy(g_TV.reshape(d.leaf_BTV.shape)), d.z_BTR)
        return grads

    def _gate_gradient(self, d: Decisions, read: _Read, slope_M: Array) -> Tensor:
        shape = len(d.tokens_B), self.config.bands
        return torch.from_numpy(mix_gradient(slope_M, read.input_MC, d.batch_M, d.level_M, self.banded_C, *shape))

    def _errors(self, d: Decisions, adapted: Split) -> Tensor:
        """Softmax less target, 0 where nothing counts: ``[B, T, V]``."""
        error_TV = adapted.probabilities()
        if len(d.position_P) < len(error_TV):
            error_TV[np.setdiff1d(np.arange(len(error_TV)), d.position_P)] = 0
        error_TV[d.position_P, self.tree.rank_V[d.target_P]] -= 1
        return torch.from_numpy(error_TV.reshape(d.leaf_BTV.shape))

    def _expert_delta(self, state: FastState, d: Decisions, old_BU: Array) -> tuple[RowDelta, Table]:
        """What all decisions of the chunk together make of their entries, in any order: the mean with its count."""
        counts, rows_U = state.rule["count"][LOGIT], torch.from_numpy(d.rows_U)
        count_BU = counts.read(rows_U.expand(len(old_BU), -1)).numpy()
        c = self.config
        values_BU, newer_BU = _counted(old_BU, count_BU, d.batch_M, d.inverse_MK, d.bit_M, c.prior_count, c.horizon)
        newer = counts.replaced(rows_U, torch.from_numpy(newer_BU))
        return RowDelta(rows_U, torch.from_numpy(values_BU)), newer


def _own(weight: Tensor) -> Tensor:
    """Of a weight that all sequences share, the one."""
    return weight if weight.stride(0) else weight[:1]


@compiled
def _paths(target_P: Array, node_VD: Array, bit_VD: Array, on_VD: Array) -> tuple[Array, Array, Array, Array]:
    """Of each target's decisions: its place, depth, node and bit."""
    M = 0
    for target in target_P:
        M += on_VD[target].sum()
    place_M, depth_M, node_M = np.empty(M, np.int64), np.empty(M, np.int64), np.empty(M, np.int64)
    bit_M, m = np.empty(M, np.float32), 0
    for p in range(len(target_P)):
        for depth in range(on_VD.shape[1]):
            if on_VD[target_P[p], depth]:
                place_M[m], depth_M[m] = p, depth
                node_M[m], bit_M[m] = node_VD[target_P[p], depth], bit_VD[target_P[p], depth]
                m += 1
    return place_M, depth_M, node_M, bit_M


@compiled
def inputs(
    C: int, frozen_M: Array, value_BU: Array, batch_M: Array, inverse_MK: Array, token_PJ: Array, strength_PJ: Array,
    place_M: Array, node_M: Array, depth_M: Array, node_VD: Array, bit_VD: Array, on_VD: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Of the mix, fp32 ``[M, C]`` without the map's, and the sides of the long contexts' tokens: 1 right, -1 left, 0
    where a token's path does not come by."""
    M, K, J = len(frozen_M), inverse_MK.shape[1], token_PJ.shape[1]
    input_MC, side_MJ = np.empty((M, C), np.float32), np.zeros((M, J), np.float32)
    for m in range(M):
        b, p = batch_M[m] if len(value_BU) > 1 else 0, place_M[m]
        input_MC[m, 0] = frozen_M[m]
        for k in range(K):
            input_MC[m, 1 + k] = value_BU[b, inverse_MK[m, k]]
        for j in range(J):
            token, depth = token_PJ[p, j], depth_M[m]
            if token >= 0 and on_VD[token, depth] and node_VD[token, depth] == node_M[m]:
                side_MJ[m, j] = 2 * bit_VD[token, depth] - 1
            input_MC[m, 1 + K + j] = strength_PJ[p, j] * side_MJ[m, j]
    return input_MC, side_MJ


@compiled
def _losses(odds_M: Array, bit_M: Array, at_M: Array, size: int) -> Array:
    """Sums of the decisions' losses, by ``at_M``: fp64 ``[size]``."""
    found = np.zeros(size)
    for m in range(len(odds_M)):
        found[at_M[m]] += nats(odds_M[m], bit_M[m])
    return found


@compiled
def _slopes(odds_M: Array, bit_M: Array) -> Array:
    """Of the decisions' losses for their log odds."""
    found = np.empty(len(odds_M))
    for m in range(len(odds_M)):
        found[m] = sigmoid(odds_M[m]) - bit_M[m]
    return found


@compiled
def _scattered(share_MC: Array, batch_M: Array, inverse_MK: Array, B: int, U: int) -> Array:
    """Shares of the short contexts, summed by entry: fp32 ``[B, U]``."""
    found = np.zeros((B, U))
    for m in range(len(batch_M)):
        for k in range(inverse_MK.shape[1]):
            found[batch_M[m], inverse_MK[m, k]] += share_MC[m, 1 + k]
    return found.astype(np.float32)


@compiled
def _counted(
    old_BU: Array, count_BU: Array, batch_M: Array, inverse_MK: Array, bit_M: Array, prior: float, horizon: float
) -> tuple[Array, Array]:
    """Changes of entries by the mean of what was seen, each with its count, in any order; and the new counts."""
    B, U = old_BU.shape
    change_BU, newer_BU = np.zeros((B, U), np.float32), count_BU.copy()
    seen_BU, right_BU = np.zeros((B, U)), np.zeros((B, U))
    for m in range(len(batch_M)):
        for k in range(inverse_MK.shape[1]):
            seen_BU[batch_M[m], inverse_MK[m, k]] += 1
            right_BU[batch_M[m], inverse_MK[m, k]] += bit_M[m]
    for b in range(B):
        for u in range(U):
            seen = seen_BU[b, u]
            if seen > 0:
                n = min(float(count_BU[b, u]), horizon) + prior
                p = sigmoid(old_BU[b, u])
                odds = math.log((p * n + right_BU[b, u]) / ((1 - p) * n + seen - right_BU[b, u]))
                change_BU[b, u] = min(max(odds, -LIMIT), LIMIT) - old_BU[b, u]
                newer_BU[b, u] = min(count_BU[b, u] + seen, 255)
    return change_BU, newer_BU
