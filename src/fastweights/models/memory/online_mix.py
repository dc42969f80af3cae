"""Hashed n-gram fast weights, mixed with the frozen model in the log-odds domain by weights that learn as they read.

Each decision of the token tree (:mod:`token_tree`) has one expert an order: the log odds that the decisions after the
same last k tokens had so far, kept in one hashed table, learned in closed form with a rate that falls as 1 / count. An
unseen context says 0, and the mix begins at the frozen model alone, so a session that has read nothing answers as that
does. The mix is a gated linear sum (M. Mahoney, PAQ, 2005; C. Mattern, 2012), mean of two: weights chosen by the
longest context that was seen and by how sure each expert is, and weights chosen by the node. They follow the gradient
of the loss with Adagrad's rate, so that what does not help is turned down. Both have weights of their own for texts
that the frozen model knows, half knows and does not know (its mean loss over the last tokens), so that trust in what
was learned of a foreign text is not trust where the frozen model is right.

Legend: B sequences, T positions, K orders, M decisions, U slots that a chunk touches, N nodes, S gates, C columns.
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
from fastweights.models.memory.contexts import Contexts
from fastweights.models.memory.token_tree import LIMIT, TokenTree

Array = NDArray[Any]
LOGIT, GATE, NODE = "ngram.logit", "mix.gate", "mix.node"
_STRANGE = (0.45, 0.75)  # mean loss of the frozen model, of log V: from here on a text is half known, and unknown
_LEVELS = len(_STRANGE) + 1
_WINDOW = 32  # tokens of that mean
_FAMILIAR, _TOKENS = 0.25, 12.0  # what it begins with: so much of log V, for so many tokens
FEATURES = "features"


@dataclass(frozen=True)
class MixConfig:
    """``orders``: context lengths in tokens; ``bits``: the table has ``2 ** bits`` entries, of 4 bytes and a count.

    ``prior_count`` is how many observations of "even" an expert begins with, ``horizon`` where its rate stops falling;
    ``trust`` is an expert's first weight in the mix, ``rate`` Adagrad's (0: the mix stays as it is), ``bands`` how many
    degrees of sureness have weights of their own.
    """

    orders: tuple[int, ...] = (1, 2, 3, 4, 6, 10, 20)
    bits: int = 22
    prior_count: float = 0.4
    horizon: float = 30.0
    trust: float = 0.2
    rate: float = 0.15
    bands: int = 6


class Decisions(NamedTuple):
    """What no fast weight touches of a chunk. ``inverse_MK`` finds a slot among ``rows_U``; ``tokens_B`` counts."""

    batch_M: Array
    node_M: Array
    bit_M: Array
    frozen_M: Array
    level_M: Array
    slot_MK: Array
    rows_U: Array
    inverse_MK: Array
    tokens_B: Array


class _Read(NamedTuple):
    """The mix at each decision: inputs, what chose the weights, and the log odds."""

    input_MC: Array  # the frozen log odds, then the experts'
    gate_M: Array
    column_MK: Array
    slope_MK: Array  # of the log odds for each expert's
    odds_M: Array


@dataclass(frozen=True, eq=False)
class OnlineMix:
    """A :class:`~fastweights.core.learner.Learner`: ``lm`` in eval mode, its tables on the CPU.

    The carry is ``{"lm", "last_B", "past_BP"}``: the model's, the last token (its successor is not known yet), and the
    tokens before it, plus one. ``grads`` of a proposal are the loss's; the write does not follow them but closed forms.
    """

    lm: RecurrentLM
    tree: TokenTree
    bos: int
    config: MixConfig = MixConfig()

    @cached_property
    def contexts(self) -> Contexts:
        return Contexts(self.config.orders, self.config.bits)

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    @property
    def state_bytes(self) -> int:
        """Of one session's fast weights, counts included, however little of them is used."""
        K = len(self.config.orders)
        mixes = _LEVELS * ((K + 1) * (1 + K * self.config.bands) + self.tree.nodes * (K + 1))
        return 5 * 2**self.config.bits + 8 * mixes

    # ------------------------------------------------------------ the learner

    def init(self, batch: int = 1) -> FastState:
        K, size = len(self.config.orders), 2**self.config.bits
        gate_BSC = torch.full((batch, _LEVELS * (K + 1), 1 + K * self.config.bands), self.config.trust)
        node_BNC = torch.full((batch, _LEVELS * self.tree.nodes, 1 + K), self.config.trust)
        gate_BSC[:, :, 0] = node_BNC[:, :, 0] = 1.0
        squares = {GATE: torch.ones_like(gate_BSC), NODE: torch.ones_like(node_BNC)}
        weights = {LOGIT: Table.zeros(batch, size), GATE: gate_BSC, NODE: node_BNC}
        rule = {"count": {LOGIT: Table.zeros(batch, size, torch.uint8)}, "square": squares}
        carry = {
            "lm": self.lm.init_carry(batch),
            "last_B": torch.full((batch,), self.bos, device=self.device),
            "past_BP": torch.zeros(batch, self.contexts.past, dtype=torch.int64),
            "loss_BW": torch.full((batch, _WINDOW), -1.0),  # of the frozen model, oldest first; below 0: not read yet
        }
        return FastState(weights, rule, carry)

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        if FEATURES in chunk.inputs:
            return chunk
        with torch.no_grad():
            h_BTD, after = self.lm.hidden(chunk.tokens_BT.to(self.device), carry["lm"])
            logits_BTV = self.lm.logits(h_BTD).float().cpu().numpy()
        tokens_BT, past_BP = chunk.tokens_BT.cpu(), carry["past_BP"]
        loss_BS = np.concatenate([carry["loss_BW"].numpy(), _losses(logits_BTV, chunk)], axis=1)
        decisions = self._decisions(chunk, logits_BTV, past_BP.numpy(), loss_BS)
        seen_BS = torch.cat([past_BP, tokens_BT + 1], dim=1)
        past_BP = seen_BS[:, seen_BS.shape[1] - self.contexts.past :].contiguous()
        last_B = chunk.targets_BT[:, -1].clone(memory_format=torch.contiguous_format).to(self.device)
        loss_BW = torch.from_numpy(loss_BS[:, -_WINDOW:].copy())
        after = {"lm": after, "last_B": last_B, "past_BP": past_BP, "loss_BW": loss_BW}
        features = {"decisions": decisions, "carry": after}
        return chunk._replace(inputs={**chunk.inputs, FEATURES: features})

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("the online mix learns in closed form, without a graph: leave create_graph out")
        features = self.prepare(chunk, state.carry).inputs[FEATURES]
        d: Decisions = features["decisions"]
        read = self._read(state.weights, d)
        error_M = d.bit_M - _sigmoid(read.odds_M)
        grads = self._grads(d, read, error_M)
        experts, count = self._expert_delta(state, d)
        delta: dict[str, Any] = {LOGIT: experts}
        squares: dict[str, Tensor] = {}
        per_token_B11 = torch.from_numpy(d.tokens_B.astype(np.float32))[:, None, None]
        for name in (GATE, NODE):
            sum_B = -grads[name] * per_token_B11
            squares[name] = state.rule["square"][name] + sum_B * sum_B
            delta[name] = self.config.rate * sum_B / squares[name].sqrt()
        after = FastState(
            add(state.weights, delta), {"count": {LOGIT: count}, "square": squares}, features["carry"], state.step + 1
        )
        output = InnerOutput(self._loss_B(d, read), features["carry"])
        return Proposal(state, delta, after, replace(state, carry=features["carry"]), output, grads)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        d: Decisions = self.prepare(chunk, state.carry).inputs[FEATURES]["decisions"]
        return self._loss_B(d, self._read(state.weights, d))

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """The choice of the mix's weights counts as given."""
        d: Decisions = self.prepare(chunk, state.carry).inputs[FEATURES]["decisions"]
        read = self._read(state.weights, d)
        return self._loss_B(d, read), self._grads(d, read, d.bit_M - _sigmoid(read.odds_M))

    # ------------------------------------------------------------ parts

    def _decisions(self, chunk: Chunk, logits_BTV: Array, past_BP: Array, loss_BS: Array) -> Decisions:
        tokens_BT, targets_BT = chunk.tokens_BT.cpu().numpy(), chunk.targets_BT.cpu().numpy()
        B, T = targets_BT.shape
        mask_BT = chunk.mask_BT.cpu().numpy()
        on_RD = self.tree.on_VD[targets_BT.reshape(-1)] & mask_BT.reshape(-1, 1)
        row_M, depth_M = on_RD.nonzero()
        target_M = targets_BT.reshape(-1)[row_M]
        node_M, bit_M = self.tree.node_VD[target_M, depth_M], self.tree.bit_VD[target_M, depth_M]
        hash_MK = self.contexts.hashes(tokens_BT, past_BP).reshape(B * T, -1)[row_M]
        slot_MK = self.contexts.slots(hash_MK, node_M)
        rows_U, inverse = np.unique(slot_MK, return_inverse=True)
        frozen_M = self.tree.log_odds(logits_BTV.reshape(B * T, -1), row_M, node_M)
        level_M = level(loss_BS[:, :-1], np.log(self.tree.nodes + 1)).reshape(-1)[row_M]
        return Decisions(
            row_M // T,
            node_M,
            bit_M,
            frozen_M,
            level_M,
            slot_MK,
            rows_U,
            inverse.reshape(slot_MK.shape),
            mask_BT.sum(1),
        )

    def _read(self, weights: Weights, d: Decisions) -> _Read:
        table: Table = weights[LOGIT]
        if table.shape[0] == 1:
            expert_MK = table.read(torch.from_numpy(d.rows_U)).numpy()[d.inverse_MK]
        else:
            rows_BU = torch.from_numpy(d.rows_U).expand(table.shape[0], -1)
            expert_MK = table.read(rows_BU).numpy()[d.batch_M[:, None], d.inverse_MK]
        gate_BSC, node_BNC = weights[GATE].numpy(), weights[NODE].numpy()
        return mix(expert_MK, d.frozen_M, gate_BSC, node_BNC, d.batch_M, d.node_M, d.level_M)

    def _loss_B(self, d: Decisions, read: _Read) -> Tensor:
        nats_M = np.logaddexp(0, np.where(d.bit_M > 0, -read.odds_M, read.odds_M))
        sum_B = np.bincount(d.batch_M, weights=nats_M, minlength=len(d.tokens_B))
        return torch.from_numpy((sum_B / np.maximum(d.tokens_B, 1)).astype(np.float32))

    def _grads(self, d: Decisions, read: _Read, error_M: Array) -> Weights:
        """Of the mean loss a token."""
        B, K = len(d.tokens_B), d.slot_MK.shape[1]
        share_M = (-error_M / np.maximum(d.tokens_B, 1)[d.batch_M]).astype(np.float32)
        C = 1 + K * self.config.bands
        S, N = _LEVELS * (K + 1), _LEVELS * self.tree.nodes
        first_M = (d.batch_M * S + read.gate_M) * C
        at_MC = np.concatenate([first_M[:, None], first_M[:, None] + read.column_MK], axis=1)
        half_MC = 0.5 * share_M[:, None] * read.input_MC
        gate = _sums(at_MC, half_MC, B * S * C).reshape(B, S, C)
        at_MC = ((d.batch_M * N + d.level_M * self.tree.nodes + d.node_M) * (K + 1))[:, None] + np.arange(K + 1)
        node = _sums(at_MC, half_MC, B * N * (K + 1)).reshape(B, N, K + 1)
        at_MK = d.batch_M[:, None] * len(d.rows_U) + d.inverse_MK
        values = _sums(at_MK, share_M[:, None] * read.slope_MK, B * len(d.rows_U)).reshape(B, -1)
        return {
            LOGIT: RowDelta(torch.from_numpy(d.rows_U), torch.from_numpy(values)),
            GATE: torch.from_numpy(gate),
            NODE: torch.from_numpy(node),
        }

    def _expert_delta(self, state: FastState, d: Decisions) -> tuple[RowDelta, Table]:
        """What all decisions of the chunk together make of their slots, in any order: the mean with its count."""
        B, U, K = len(d.tokens_B), len(d.rows_U), d.slot_MK.shape[1]
        at_MK = d.batch_M[:, None] * U + d.inverse_MK
        seen_BU = np.bincount(at_MK.ravel(), minlength=B * U).reshape(B, U).astype(np.float32)
        right_BU = _sums(at_MK, np.broadcast_to(d.bit_M[:, None], (len(d.bit_M), K)), B * U).reshape(B, U)
        before, counts = state.weights[LOGIT], state.rule["count"][LOGIT]
        rows_BU = torch.from_numpy(d.rows_U).expand(B, U)
        old_BU, count_BU = before.read(rows_BU).numpy(), counts.read(rows_BU).numpy().astype(np.float32)
        n_BU = np.minimum(count_BU, self.config.horizon) + self.config.prior_count
        p_BU = (_sigmoid(old_BU) * n_BU + right_BU) / (n_BU + seen_BU)
        new_BU = np.clip(np.log(p_BU) - np.log1p(-p_BU), -LIMIT, LIMIT)
        values_BU = np.where(seen_BU > 0, new_BU - old_BU, 0).astype(np.float32)
        rows_U = torch.from_numpy(d.rows_U)
        newer = counts.replaced(rows_U, torch.from_numpy(np.minimum(count_BU + seen_BU, 255).astype(np.uint8)))
        return RowDelta(rows_U, torch.from_numpy(values_BU)), newer


def mix(
    expert_MK: Array,
    frozen_M: Array,
    gate_BSC: Array,
    node_BNC: Array,
    batch_M: Array | int,
    node_M: Array,
    level_M: Array | int,
) -> _Read:
    """The mean of the two mixes; ``batch_M`` says whose weights."""
    K = expert_MK.shape[1]
    batch_M, level_M = np.broadcast_to(batch_M, len(node_M)), np.broadcast_to(level_M, len(node_M))
    bands = (gate_BSC.shape[2] - 1) // K
    seen_MK = expert_MK != 0
    longest_M = np.where(seen_MK.any(1), K - np.argmax(seen_MK[:, ::-1], axis=1), 0)
    gate_M = level_M * (K + 1) + longest_M
    band_MK = np.minimum((np.abs(expert_MK) * np.float32(1.25)).astype(np.int64), bands - 1)
    column_MK = 1 + np.arange(K) * bands + band_MK
    first_M = gate_BSC[batch_M, gate_M, 0]
    weight_MK = gate_BSC[batch_M[:, None], gate_M[:, None], column_MK]
    node_MC = node_BNC[batch_M, level_M * (node_BNC.shape[1] // _LEVELS) + node_M]
    slope_MK = 0.5 * (weight_MK + node_MC[:, 1:])
    odds_M = 0.5 * (first_M + node_MC[:, 0]) * frozen_M + np.einsum("mk,mk->m", slope_MK, expert_MK)
    input_MC = np.concatenate([frozen_M[:, None], expert_MK], axis=1)
    return _Read(input_MC, gate_M, column_MK, slope_MK, odds_M)


def level(loss_BS: Array, uniform: float) -> Array:
    """How strange the text is at each position after the first ``_WINDOW`` entries: 0, 1 or 2, ``[B, …]``."""
    read_BS = loss_BS >= 0
    sums_BS, counts_BS = (
        np.cumsum(np.pad(x, ((0, 0), (1, 0))), axis=1) for x in (np.where(read_BS, loss_BS, 0), read_BS)
    )
    sum_BT, count_BT = (x[:, _WINDOW:] - x[:, :-_WINDOW] for x in (sums_BS, counts_BS))
    mean_BT = (sum_BT / uniform + _FAMILIAR * _TOKENS) / (count_BT + _TOKENS)
    return np.asarray(np.searchsorted(np.array(_STRANGE), mean_BT))


def _losses(logits_BTV: Array, chunk: Chunk) -> Array:
    """The frozen model's loss of each token, nats ``[B, T]`` fp32."""
    top_BT1 = logits_BTV.max(2, keepdims=True)
    target_BT = np.take_along_axis(logits_BTV, chunk.targets_BT.cpu().numpy()[:, :, None], axis=2)[:, :, 0]
    sums_BT = np.exp(logits_BTV - top_BT1).sum(2)
    return np.maximum(np.log(sums_BT) + top_BT1[:, :, 0] - target_BT, 0).astype(np.float32)


def _sums(at: Array, values: Array, size: int) -> Array:
    return np.bincount(at.ravel(), weights=values.ravel(), minlength=size).astype(np.float32)


def _sigmoid(x: Array) -> Array:
    return 0.5 * np.tanh(0.5 * x) + 0.5
