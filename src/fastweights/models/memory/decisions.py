"""A chunk as decisions of the token tree: their entries, their rows in the mix, and what the frozen model says.

Legend: B sequences, T positions, P counted positions, K short contexts, M decisions, U entries that a chunk touches,
S sets of the mix's weights, V vocabulary (in the order of the tree's leaves).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.state import Chunk
from fastweights.models.memory import successors
from fastweights.models.memory.contexts import Contexts, Words, at_nodes, distinct
from fastweights.models.memory.mixing import FAMILIAR, kind, rows
from fastweights.models.memory.successors import Places
from fastweights.models.memory.token_steps import losses, paths
from fastweights.models.memory.token_tree import TokenTree

Array = NDArray[Any]


class Decisions(NamedTuple):
    """What no fast weight touches of a chunk.

    ``place_M``: of a decision among the counted positions ``position_P`` (of B * T); ``row_MS``: its weights in the
    mix; ``rows_U`` and ``inverse_MK``: its entries; ``tokens_B`` counts; ``leaf_BTV``: the frozen logits.
    """

    batch_M: Array
    place_M: Array
    position_M: Array
    node_M: Array
    depth_M: Array
    bit_M: Array
    frozen_M: Array
    row_MS: Array
    rows_U: Array
    inverse_MK: Array
    runs: Places
    target_P: Array
    position_P: Array
    tokens_B: Array
    leaf_BTV: Array


class Decider:
    """``short``, ``long``: which of the contexts' hashes are short ones (words with them) and long ones.

    Its carry is ``{"past_BP", "word_B3", "fared_B"}``: the tokens before the last one plus one, the words
    (:class:`Words`), and the frozen model's loss on the last token as a share of log V.
    """

    def __init__(self, tree: TokenTree, words: Words, short: Sequence[int], long: Sequence[int], bits: int) -> None:
        self.tree, self.words, self.bits = tree, words, bits
        self.contexts = Contexts((*short, *long))
        self.short = np.r_[: len(short), len(short) + len(long) : len(short) + len(long) + 2]
        self.long = np.arange(len(short), len(short) + len(long))
        self._kind_V = np.array([kind(last) for last in words.last_V])

    def init_carry(self, batch: int) -> dict[str, Tensor]:
        return {
            "past_BP": torch.zeros(batch, self.contexts.past, dtype=torch.int64),
            "word_B3": torch.zeros(batch, 3, dtype=torch.int64),
            "fared_B": torch.full((batch,), FAMILIAR),
        }

    def decide(self, chunk: Chunk, logits_BTV: Array, carry: Any) -> tuple[Decisions, dict[str, Tensor]]:
        """The decisions, and the carry after them."""
        tokens_BT, targets_BT = chunk.tokens_BT.cpu().numpy(), chunk.targets_BT.cpu().numpy()
        mask_BT, past_BP, B, T = chunk.mask_BT.cpu().numpy(), carry["past_BP"].numpy(), *targets_BT.shape
        position_P = mask_BT.ravel().nonzero()[0]
        target_P = targets_BT.ravel()[position_P]
        place_M, depth_M, node_M, bit_M = paths(target_P, self.tree.node_VD, self.tree.bit_VD, self.tree.on_VD)
        position_M = position_P[place_M]
        batch_M = position_M // T
        word_BT3 = self.words.hashes(tokens_BT, carry["word_B3"].numpy().view(np.uint64))
        hash_PK = self.contexts.hashes(tokens_BT, past_BP, word_BT3).reshape(B * T, -1)[position_P]
        rows_U, inverse_MK = distinct(at_nodes(hash_PK[:, self.short], place_M, node_M, self.bits))
        leaf_BTV = logits_BTV[:, :, self.tree.leaf_V]
        frozen_M = self.tree.split(leaf_BTV.reshape(B * T, -1)).log_odds(self.tree, position_M, node_M)
        loss_BT = losses(frozen_M, bit_M, position_M, B * T).reshape(B, T) / math.log(self.tree.nodes + 1)
        fared_BS = np.column_stack([carry["fared_B"].numpy(), np.where(mask_BT, loss_BT, FAMILIAR)])
        row_MS = rows(
            frozen_M, depth_M, place_M, fared_BS[:, :-1].ravel()[position_P],
            self._kind_V[tokens_BT].ravel()[position_P], word_BT3[:, :, 2].ravel()[position_P].astype(np.int64),
        )  # fmt: skip
        runs = successors.places(hash_PK[:, self.long], position_P // T, self.bits - 1)
        seen_BS = np.concatenate([past_BP, tokens_BT + 1], axis=1)
        context = {
            "past_BP": torch.from_numpy(seen_BS[:, seen_BS.shape[1] - self.contexts.past :].copy()),
            "word_B3": torch.from_numpy(word_BT3[:, -1].view(np.int64).copy()),
            "fared_B": torch.from_numpy(fared_BS[:, -1].astype(np.float32)),
        }
        tokens_B = mask_BT.sum(1)
        return Decisions(
            batch_M, place_M, position_M, node_M, depth_M, bit_M, frozen_M, row_MS, rows_U, inverse_MK, runs, target_P,
            position_P, tokens_B, leaf_BTV,
        ), context  # fmt: skip
