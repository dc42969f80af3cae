"""The mix as it is defined, for one sequence, in plain Python. Twin of :mod:`fastweights.models.memory.online_mix`.

What was read is a key of a dictionary here, not a hash of one, so that no two contexts share an entry.
Legend: T positions, V vocabulary, E decisions of a token, C inputs of the mix, S sets of its weights, R rows of a set,
D hidden width.
"""

import math
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fastweights.core.state import Chunk
from fastweights.models.memory.mixing import kind
from fastweights.models.memory.online_mix import OnlineMix

_SURE, _FARED = (1.5, 3.0, 4.5), (0.0125, 0.0375, 0.1, 0.2, 0.375, 0.625, 0.875)
_KINDS, _LENGTHS, _DEPTHS = 8, 12, 8
_LIMIT, _LONGEST, _EVEN, _FAMILIAR = 12.0, 30, 0.3, 0.25
_RIDGE, _SIZE = 0.1, 1000.0
_WORD = bytes(b for b in range(256) if b >= 128 or chr(b).isalnum() or b == ord("_"))

Context = tuple[object, ...]


class _Decision(NamedTuple):
    node: int
    bit: int
    x_C: list[float]
    row_S: list[int]
    odds: float


class NaiveMix:
    """A session's memory, which changes in place as it reads. ``piece_V``: the bytes of each token."""

    def __init__(self, learner: OnlineMix, piece_V: Sequence[bytes]) -> None:
        self.lm, self.piece_V, self.config = learner.lm, piece_V, learner.config
        tree, c = learner.tree, learner.config
        self.path_V = [  # node: bit, from the root
            {int(node): int(bit) for node, bit, on in zip(*of_token, strict=True) if on}
            for of_token in zip(tree.node_VD, tree.bit_VD, tree.on_VD, strict=True)
        ]
        self.sides: list[tuple[list[int], list[int]]] = [([], []) for _ in range(tree.nodes)]
        for token, path in enumerate(self.path_V):
            for node, bit in path.items():
                self.sides[node][bit].append(token)
        first_C = [1.0] + [c.trust] * (len(c.short) + 2) + [c.trust_long] * len(c.long)
        first_C += [c.trust_map] if c.map_rate else []
        sizes_S = (len(_SURE) + 1, len(_FARED) + 1, _KINDS, _LENGTHS, _DEPTHS)
        self.weight_SRC = [[list(first_C) for _ in range(size)] for size in sizes_S]
        self.square_SRC = [[[1.0] * len(first_C) for _ in range(size)] for size in sizes_S]
        self.entries: dict[tuple[Context, int], tuple[float, int]] = {}  # log odds and count, by context and node
        self.runs: dict[Context, tuple[int, int]] = {}  # the token that came last, and how often in a row
        self.white_DD = _white(learner)
        self.map_VD = torch.zeros(len(piece_V), len(self.white_DD))
        self.carry, self.fared = learner.lm.init_carry(1), _FAMILIAR
        self.tokens: tuple[int, ...] = ()
        self.word, self.word_before = b"", b""

    def read(self, chunk: Chunk) -> float:
        """Mean loss of a token in nats, each predicted before it is learned from."""
        return self._read(chunk, learns=True)

    def score(self, chunk: Chunk) -> float:
        """The same under weights that stay; nothing changes."""
        return copy(self)._read(chunk, learns=False)

    def _read(self, chunk: Chunk, learns: bool) -> float:
        target_T, counts_T = chunk.targets_BT[0], chunk.mask_BT[0]
        with torch.no_grad():
            h_BTD, self.carry = self.lm.hidden(chunk.tokens_BT, self.carry)
            z_TD, frozen_TV = h_BTD[0] @ self.white_DD, self.lm.logits(h_BTD)[0]
        adapted_TV = frozen_TV + z_TD @ self.map_VD.mT
        sum_loss = 0.0
        for t, (token, target) in enumerate(zip(chunk.tokens_BT[0].tolist(), target_T.tolist(), strict=True)):
            self._see(token)
            fared, self.fared = self.fared, _FAMILIAR
            if not counts_T[t]:
                continue
            short, long, path = self._short(), self._long(), self.path_V[target]
            frozen_E = adapted_E = self._odds(frozen_TV[t].tolist(), path)
            if self.config.map_rate:
                adapted_E = self._odds(adapted_TV[t].tolist(), path)
            decisions = []
            for depth, (node, bit) in enumerate(path.items()):
                frozen, added = frozen_E[depth], adapted_E[depth] - frozen_E[depth]
                x_C = [frozen, *(self.entries.get((at, node), (0.0, 0))[0] for at in short)]
                x_C += [self._run(at, node) for at in long] + ([added] if self.config.map_rate else [])
                row_S = self._rows(frozen, fared, depth)
                decisions.append(_Decision(node, bit, x_C, row_S, self._mix(x_C, row_S)))
            sum_loss += sum(_nats(d.odds, d.bit) for d in decisions)
            self.fared = sum(map(_nats, frozen_E, path.values())) / math.log(len(self.path_V))
            if learns:
                self._learn(decisions, target, short, long)
        if learns and self.config.map_rate:
            error_TV = adapted_TV.softmax(1) - one_hot(target_T, len(self.path_V))
            self.map_VD = self.map_VD - self.config.map_rate / _SIZE * error_TV[counts_T].mT @ z_TD[counts_T]
        return sum_loss / max(int(counts_T.sum()), 1)

    def _see(self, token: int) -> None:
        piece = self.piece_V[token]
        end = piece[len(piece.rstrip(_WORD)) :]
        if end != piece or not piece:
            self.word, self.word_before = b"", self.word or self.word_before
        self.word += end.lower()
        self.tokens = (*self.tokens, token)[-max(self.config.long) :]

    def _short(self) -> list[Context]:
        last = self.tokens[-1]
        orders: list[Context] = [(n, *self.tokens[-n:]) for n in self.config.short]
        return [*orders, ("word", last, self.word), ("words", last, self.word, self.word_before)]

    def _long(self) -> list[Context]:
        return [(n, *self.tokens[-n:]) for n in self.config.long]

    def _odds(self, logit_V: list[float], path: dict[int, int]) -> list[float]:
        """Logits' log odds of "right" at each node of a path."""
        most = max(logit_V)
        weight_V = [math.exp(logit - most) for logit in logit_V]
        sums = [[sum(weight_V[v] for v in side) for side in self.sides[node]] for node in path]
        return [_limited(math.log(right / left)) for left, right in sums]

    def _run(self, context: Context, node: int) -> float:
        """A long context's log odds: of its token's side, or 0 where its path does not come by."""
        if context not in self.runs or node not in self.path_V[self.runs[context][0]]:
            return 0.0
        token, times = self.runs[context]
        return (2 * self.path_V[token][node] - 1) * math.log(1 + times / _EVEN)

    def _rows(self, frozen: float, fared: float, depth: int) -> list[int]:
        piece = self.piece_V[self.tokens[-1]]
        return [
            sum(abs(frozen) >= border for border in _SURE),
            sum(fared >= border for border in _FARED),
            kind(piece[-1] if piece else 0),
            min(len(self.word), _LENGTHS - 1),
            min(depth, _DEPTHS - 1),
        ]

    def _mix(self, x_C: list[float], row_S: list[int]) -> float:
        """The mean of the sets' sums."""
        sum_S = [sum(w * x for w, x in zip(self.weight_SRC[s][r], x_C, strict=True)) for s, r in enumerate(row_S)]
        return sum(sum_S) / len(sum_S)

    def _learn(self, decisions: list[_Decision], target: int, short: list[Context], long: list[Context]) -> None:
        c = self.config
        for d in decisions:
            for at in short:
                odds, count = self.entries.get((at, d.node), (0.0, 0))
                n, p = min(count, c.horizon) + c.prior_count, _sigmoid(odds)
                odds = math.log((p * n + d.bit) / ((1 - p) * n + 1 - d.bit))
                self.entries[at, d.node] = _limited(odds), count + 1
            error = d.bit - _sigmoid(d.odds)
            for s, r in enumerate(d.row_S if c.rate else ()):
                weight_C, square_C = self.weight_SRC[s][r], self.square_SRC[s][r]
                for i, x in enumerate(d.x_C):
                    square_C[i] += (error * x) ** 2
                    weight_C[i] += c.rate * error * x / math.sqrt(square_C[i])
        for at in long:
            token, times = self.runs.get(at, (target, 0))
            self.runs[at] = (target, min(times + 1, _LONGEST) if token == target else 1)


def _white(learner: OnlineMix) -> Tensor:
    """What gives hidden states the same variance in each of their main directions, and their mean square ``_SIZE``."""
    rank = learner.adapter.white_DF.shape[1]
    with torch.no_grad():
        h_TD = learner.lm.hidden(learner.sample[None], learner.lm.init_carry(1))[0][0]
    second_DD = h_TD.mT @ h_TD / len(h_TD)
    value_F, vector_DF = (part[..., -rank:] for part in torch.linalg.eigh(second_DD))
    white_DD = vector_DF * (value_F + _RIDGE * second_DD.diagonal().mean()).rsqrt() @ vector_DF.mT
    return white_DD * (_SIZE / (h_TD @ white_DD).square().sum(1).mean()).sqrt()


def _limited(odds: float) -> float:
    return min(max(odds, -_LIMIT), _LIMIT)


def _nats(odds: float, bit: int) -> float:
    return math.log1p(math.exp(-odds if bit else odds))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))
