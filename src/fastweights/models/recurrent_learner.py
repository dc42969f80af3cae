"""A model whose recurrent state is its fast weights (TTT-Linear, TTT-MLP) as a learner of core's.

The fast weights are ``layers.<i>.mixer.{W1, b1, W2, b2}``; a chunk's write is what the model itself makes of them as
it reads (closed form: test-time training). A chunk of the guard closes the model's open chunk: its steps are folded
into W, so that all that was learned is in the weights that the guard audits, and nothing waits outside of them. Where
the guard's chunk is a whole number of the model's, that is exactly how the model reads alone.

Shape suffixes: B sequences, T positions, D width, V vocabulary.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import InnerOutput, Proposal
from fastweights.core.losses import cross_entropy_B
from fastweights.core.state import Chunk, FastState, Weights, subtract
from fastweights.models.ttt_lm import TTTLM, Block, Carry

WRITTEN = "written"
"""In ``chunk.inputs``: the model's carry after the chunk, where a decoder has read and learned it already."""


def learns_itself(lm: torch.nn.Module) -> TypeGuard[TTTLM]:
    """Whether a :class:`RecurrentLearner` can be made of it: a TTTLM whose blocks are TTT layers."""
    return isinstance(lm, TTTLM) and all(isinstance(block, Block) for block in lm.layers)


@dataclass(frozen=True, eq=False)
class RecurrentLearner:
    """``lm`` in eval mode, without gradients. The carry is ``{"lm": position and convolutions, "last_B": int64}``.

    ``last_B`` is the last token of the stream: its successor is not known yet, so the next chunk begins with it.
    Losses are those of a chunk read with the weights as they stand, eta = 0: :meth:`propose` gives the same loss as
    :meth:`score`, and it is the reading of a refused chunk. ``grads`` is None: no gradient makes the write.
    """

    lm: TTTLM
    bos: int

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    def init(self, batch: int = 1) -> FastState:
        weights, rest = self._split(self.lm.init_carry(batch))
        last_B = torch.full((batch,), self.bos, device=self.device)
        return FastState({name: w.detach() for name, w in weights.items()}, {}, {"lm": rest, "last_B": last_B})

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        """The chunk as it is: the fast weights are in every layer."""
        return chunk

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        with torch.set_grad_enabled(create_graph):
            output = self._still(self.lm, state.weights, chunk, state.carry)
            learned = chunk.inputs.get(WRITTEN)
            if learned is None:
                tokens_BT = chunk.tokens_BT.to(self.device)
                _, learned = self.lm.hidden(tokens_BT, self._join(state.weights, state.carry))
            weights, rest = self._split(self._closed({name: t.to(self.device) for name, t in learned.items()}))
            delta = subtract(weights, state.weights)
        carry = {"lm": rest, "last_B": output.carry["last_B"]}
        after = FastState(weights, state.rule, carry, state.step + 1)
        return Proposal(state, delta, after, replace(state, carry=output.carry), output, None)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        with torch.no_grad():
            return self._still(self.lm, state.weights, chunk, state.carry).loss_B

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """Through every layer's W as the chunk is read with it."""
        live = {name: w.detach().requires_grad_(True) for name, w in state.weights.items()}
        with torch.enable_grad():
            loss_B = self._still(self.lm, live, chunk, state.carry).loss_B
            grads = torch.autograd.grad(loss_B.sum(), list(live.values()), materialize_grads=True)
        return loss_B.detach(), dict(zip(live, grads, strict=True))

    # ------------------------------------------------------------ for those who decode or look inside

    def lm_carry(self, state: FastState) -> Carry:
        """The model's own carry at ``state``: where a decoder goes on."""
        return self._join(state.weights, state.carry)

    def skim(self, weights: Weights, chunk: Chunk, carry: Any) -> Any:
        """The carry after a chunk of which nothing is learned."""
        with torch.no_grad():
            return self._still(self.lm, weights, chunk, carry).carry

    def loss_through(self, lm: TTTLM, weights: Weights, chunk: Chunk, carry: Any) -> Tensor:
        """``loss_B`` with its graph, read by ``lm``, a copy of the model with another embedding."""
        return self._still(lm, weights, chunk, carry).loss_B

    # ------------------------------------------------------------ parts

    def _still(self, lm: TTTLM, weights: Weights, chunk: Chunk, carry: Any) -> InnerOutput:
        """Reads with the weights as they stand."""
        targets_BT = chunk.targets_BT.to(self.device)
        logits_BTV, after = lm(chunk.tokens_BT.to(self.device), self._join(weights, carry), learn=False)
        loss_B = cross_entropy_B(logits_BTV, targets_BT, chunk.mask_BT.to(self.device))
        last_B = targets_BT[:, -1].clone(memory_format=torch.contiguous_format)  # of its own: it will be stored
        return InnerOutput(loss_B, {"lm": self._split(after)[1], "last_B": last_B})

    def _join(self, weights: Weights, carry: Any) -> Carry:
        """The model's carry, with an empty chunk."""
        rest = carry["lm"]
        batch = rest["position"].shape[0]
        joined: Carry = {**rest, "phase": torch.zeros_like(rest["position"])}
        for name, value in weights.items():
            joined[name.replace(".mixer.", ".")] = value
        for i, block in enumerate(self.lm.blocks):
            config = block.mixer.config
            for n, widths in enumerate(block.mixer.inner.widths(config.head_dim, config.expansion), 1):
                for row, width in zip("au", widths, strict=True):
                    shape = (batch, config.heads, config.chunk, width)
                    joined[f"layers.{i}.{row}{n}"] = torch.zeros(shape, dtype=block.mixer.dtype, device=self.device)
        return joined

    def _split(self, carry: Carry) -> tuple[Weights, Carry]:
        """(fast weights, what else a carry with an empty chunk holds)."""
        weights, rest = {}, {}
        for name, value in carry.items():
            prefix, dot, own = name.rpartition(".")
            if own[0] in "Wb":
                weights[f"{prefix}{dot}mixer.{own}"] = value
            elif own == "position" or "conv" in own:
                rest[name] = value
        return weights, rest

    def _closed(self, carry: Carry) -> Carry:
        """The steps of the open chunk folded into W, as its last token sees them."""
        before_B = (carry["phase"] - 1).clamp(min=0)
        out = dict(carry)
        for i, block in enumerate(self.lm.blocks):
            row_B111 = block.mixer._rows()[before_B][:, None, None, None]
            for n in range(1, len(block.mixer.inner.widths(1, 1)) + 1):
                a_LD, u_LF = carry[f"layers.{i}.a{n}"], carry[f"layers.{i}.u{n}"] * row_B111
                out[f"layers.{i}.W{n}"] = carry[f"layers.{i}.W{n}"] - a_LD.mT @ u_LF
                if (bias := f"layers.{i}.b{n}") in carry:
                    out[bias] = carry[bias] - u_LF.sum(-2, keepdim=True)
        return out


class StillDecoder:
    """Reads token by token with the weights as they stand: what the model answers where nothing may be learned.

    One sequence; the methods are those of :class:`~fastweights.models.ttt_lm_decode.TTTDecoder`.
    """

    def __init__(self, lm: TTTLM) -> None:
        self._lm = lm
        self.load(lm.init_carry(1))

    def load(self, carry: Carry) -> None:
        self._carry = {name: value.to(self._lm.head.weight.device) for name, value in carry.items()}

    def carry(self) -> Carry:
        return dict(self._carry)

    def step(self, token: int) -> NDArray[np.float32]:
        with torch.no_grad():
            tokens_BT = torch.tensor([[token]], device=self._lm.head.weight.device)
            h_BTD, self._carry = self._lm.hidden(tokens_BT, self._carry, learn=False)
        return h_BTD[0, 0].float().cpu().numpy()

    def logits(self, h_D: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            h = torch.from_numpy(h_D).to(self._lm.head.weight)
            return self._lm.logits(h).float().cpu().numpy()
