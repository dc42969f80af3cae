"""TTT-E2E: a transformer of window attention whose suffix learns as it reads (arXiv 2512.23675).

Embedding → prefix blocks → suffix blocks → norm → head. A suffix block has a second SwiGLU in series (attention → prime
SwiGLU → static SwiGLU, each after its own RMSNorm and with a residual); by default those are the fast weights. The
prefix, and the first suffix block's attention, see none of them: a text is read once up to there (:meth:`stem`).

Legend: B sequences, T time, D channels, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fastweights.core.learner import GradientLearner, InnerOutput
from fastweights.core.losses import cross_entropy_B
from fastweights.core.rules import SGD
from fastweights.core.spec import select
from fastweights.core.state import Chunk, FastState, Weights
from fastweights.errors import FastweightsError
from fastweights.layers.attention import WindowAttention
from fastweights.layers.linear import Linear
from fastweights.layers.norm import RMSNorm
from fastweights.models.e2e_config import E2EConfig

Carry = dict[str, Tensor]
"""Flat: ``"<layer>.keys"``, ``"<layer>.values"`` (B, window - 1, D) and ``"position"`` (int64 B): constant size."""

OUTER_WEIGHT = "outer_weight_BT"
"""In ``chunk.inputs``: the weight of each target in the outer loss, where that is not the mean of the inner ones."""


class SwiGLU(nn.Module):
    """``down(silu(gate x) * up x)`` (Shazeer, 2020)."""

    def __init__(self, dim: int, hidden: int, std: float) -> None:
        super().__init__()
        self.gate, self.up, self.down = Linear(dim, hidden), Linear(dim, hidden), Linear(hidden, dim)
        for linear in (self.gate, self.up, self.down):
            nn.init.normal_(linear.weight, std=std)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """``mix`` (attention), then ``feed`` (with ``prime``: the second SwiGLU; the static one)."""

    def __init__(self, config: E2EConfig, *, prime: bool) -> None:
        super().__init__()
        D, eps, std = config.dim, config.norm_eps, config.init_std
        self.attention_norm = RMSNorm(D, eps)
        self.attention = WindowAttention(
            D,
            config.heads,
            config.window,
            qk_norm=config.qk_norm,
            qk_bias=config.qk_bias,
            rope_theta=config.rope_theta,
            norm_eps=eps,
            init_std=std,
        )
        self.prime_norm = RMSNorm(D, eps) if prime else None
        self.feed_forward_prime = SwiGLU(D, config.prime, std) if prime else None
        self.feed_forward_norm = RMSNorm(D, eps)
        self.feed_forward = SwiGLU(D, config.hidden, std)

    def mix(self, x_BTD: Tensor, carry: Carry, turns: Tensor) -> tuple[Tensor, Carry]:
        y_BTD, carry = self.attention(self.attention_norm(x_BTD), carry, turns=turns)
        return x_BTD + y_BTD, carry

    def feed(self, x_BTD: Tensor) -> Tensor:
        if self.prime_norm is not None and self.feed_forward_prime is not None:
            x_BTD = x_BTD + self.feed_forward_prime(self.prime_norm(x_BTD))
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD))


class E2ETransformer(nn.Module):
    """The network. What learns, and by which rule, is ``config.inner``; :func:`e2e_learner` makes the learner.

    Read as a module (``forward``) nothing is learned: the fast weights stay where training has put them.
    """

    def __init__(self, config: E2EConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.prefix_blocks = nn.ModuleList(Block(config, prime=False) for _ in range(config.prefix_layers))
        self.suffix_blocks = nn.ModuleList(Block(config, prime=True) for _ in range(config.suffix_layers))
        self.ln_f = RMSNorm(config.dim, config.norm_eps)
        self.head = Linear(config.dim, config.vocab_size)
        nn.init.normal_(self.embedding.weight, std=config.embedding_std or config.init_std)
        nn.init.normal_(self.head.weight, std=config.init_std)
        own = [name for name, _ in self.named_parameters() if name.startswith(("suffix_blocks.", "ln_f.", "head."))]
        try:
            self.fast_names = select(own, config.inner.patterns())
        except ValueError as error:
            raise FastweightsError(f"ttt_param_filter {config.inner.ttt_param_filter!r}: {error}") from None
        """Parameters that learn as the model reads."""
        count, start = len(self.fast_names), torch.tensor(config.inner.lr).log()
        self.inner_log_rates = nn.Parameter(start.repeat(count)) if config.inner.learned_rates else None

    @property
    def mixed_early(self) -> bool:
        """Whether no fast weight lies before the second branch of the first suffix block."""
        return not any(name.startswith("suffix_blocks.0.attention") for name in self.fast_names)

    def rates(self) -> dict[str, Tensor] | float:
        """The inner rates: one number, or a learned one a tensor."""
        if self.inner_log_rates is None:
            return self.config.inner.lr
        return dict(zip(self.fast_names, self.inner_log_rates.exp(), strict=True))

    def _blocks(self) -> list[Block]:
        return [block for blocks in (self.prefix_blocks, self.suffix_blocks) for block in blocks]  # type: ignore[misc]

    def init_carry(self, batch: int) -> Carry:
        """The carry before any token."""
        carry: Carry = {}
        for i, block in enumerate(self._blocks()):
            own = block.attention.init_carry(batch)
            carry |= {f"{i}.keys": own["keys"], f"{i}.values": own["values"], "position": own["position"]}
        return carry

    # ------------------------------------------------------------ reading: the stem sees no fast weight, the rest may

    def stem(self, tokens_BT: Tensor, carry: Carry | None) -> tuple[Tensor, Carry]:
        """``x_BTD`` where the first fast weight comes, and the carry of the layers before."""
        x_BTD = self.embedding(tokens_BT)
        position_B = torch.zeros_like(tokens_BT[:, 0]) if carry is None else carry["position"]
        turns, after = self._turns(position_B, tokens_BT.shape[1]), {}
        for i in range(self.config.prefix_layers + self.mixed_early):
            x_BTD, own = self._mix(i, x_BTD, carry, position_B, turns)
            after |= own
            if i < self.config.prefix_layers:
                x_BTD = self._blocks()[i].feed(x_BTD)
        return x_BTD, after | {"position": position_B + tokens_BT.shape[1]}

    def suffix(self, x_BTD: Tensor, carry: Carry | None, position_B: Tensor) -> tuple[Tensor, Carry]:
        """``h_BTD`` after the last norm, from the stem's ``x_BTD``, which begins at ``position_B``; and its carry."""
        after: Carry = {}
        early = self.config.prefix_layers if self.mixed_early else -1
        turns = None
        for i in range(self.config.prefix_layers, self.config.layers):
            if i != early:
                turns = self._turns(position_B, x_BTD.shape[1]) if turns is None else turns
                x_BTD, own = self._mix(i, x_BTD, carry, position_B, turns)
                after |= own
            x_BTD = self._blocks()[i].feed(x_BTD)
        return self.ln_f(x_BTD), after

    def _turns(self, position_B: Tensor, tokens: int) -> Tensor:
        return self._blocks()[0].attention.turns(position_B, tokens)

    def _mix(
        self, i: int, x_BTD: Tensor, carry: Carry | None, position_B: Tensor, turns: Tensor
    ) -> tuple[Tensor, Carry]:
        own: Carry = {"position": position_B}
        if carry is not None:
            own |= {"keys": carry[f"{i}.keys"], "values": carry[f"{i}.values"]}
        x_BTD, own = self._blocks()[i].mix(x_BTD, own, turns)
        return x_BTD, {f"{i}.keys": own["keys"], f"{i}.values": own["values"]}

    def hidden(self, tokens_BT: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """``h_BTD`` after the last norm, nothing learned, and the carry; a text may be read in pieces, cut anywhere."""
        x_BTD, after = self.stem(tokens_BT, carry)
        position_B = after["position"] - tokens_BT.shape[1]
        h_BTD, rest = self.suffix(x_BTD, carry, position_B)
        return h_BTD, after | rest

    def logits(self, h_BTD: Tensor) -> Tensor:
        """Next-token logits ``(…, V)``."""
        return self.head(h_BTD)

    def forward(self, tokens_BT: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """``(logits_BTV, carry)``, nothing learned."""
        h_BTD, carry = self.hidden(tokens_BT, carry)
        return self.logits(h_BTD), carry


class _Suffix(nn.Module):
    """What the fast weights are part of, as a module of its own, so that they can be put in its parameters' place."""

    def __init__(self, lm: E2ETransformer) -> None:
        super().__init__()
        self.suffix_blocks, self.ln_f, self.head = lm.suffix_blocks, lm.ln_f, lm.head
        self._read = lm.suffix

    def forward(self, x_BTD: Tensor, carry: Carry | None, position_B: Tensor) -> tuple[Tensor, Carry]:
        h_BTD, carry = self._read(x_BTD, carry, position_B)
        return self.head(h_BTD), carry


@dataclass(frozen=True, eq=False)
class E2EReader:
    """``lm`` as a :class:`fastweights.core.learner.FastModel`; with gradients also for the slow weights.

    The carry is ``{"stem", "suffix", "last_B"}``; ``last_B`` (int64) is the last token of the stream, whose successor
    is not known yet, so the next chunk begins with it. ``features``: the stem's reading, ``x_BTD``, its carry, and
    ``position_B``, where the chunk begins.
    """

    lm: E2ETransformer
    bos: int
    _suffix: _Suffix = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_suffix", _Suffix(self.lm))

    @property
    def device(self) -> torch.device:
        return self.lm.head.weight.device

    def init_weights(self, batch: int) -> Weights:
        """The start of the fast weights, as training has found it; one slice a sequence, views."""
        named = dict(self.lm.named_parameters())
        return {name: named[name].expand(batch, *named[name].shape) for name in self.lm.fast_names}

    def init_carry(self, batch: int) -> Any:
        last_B = torch.full((batch,), self.bos, device=self.device)
        return {**self.split(self.lm.init_carry(batch)), "last_B": last_B}

    def split(self, carry: Carry) -> dict[str, Carry]:
        """The model's carry in two: of the layers before the first fast weight, and of the others."""
        first = self.lm.config.prefix_layers + self.lm.mixed_early
        parts: dict[str, Carry] = {"stem": {}, "suffix": {}}
        for name, value in carry.items():
            later = name != "position" and int(name.partition(".")[0]) >= first
            parts["suffix" if later else "stem"][name] = value.to(self.device)
        return parts

    def lm_carry(self, state: FastState) -> Carry:
        """Where a decoder goes on: the model's carry, and the fast weights by their names."""
        return {**state.carry["stem"], **state.carry["suffix"], **state.weights}

    def skim(self, weights: Weights, chunk: Chunk, carry: Any) -> Any:
        """The carry after a chunk of which nothing is learned."""
        with torch.no_grad():
            return self.forward(weights, self.encode(chunk, carry), chunk, carry).carry

    def loss_through(self, lm: E2ETransformer, weights: Weights, chunk: Chunk, carry: Any) -> Tensor:
        """``loss_B`` with its graph, read by ``lm``, a copy of the model with another embedding."""
        other = E2EReader(lm, self.bos)
        return other.forward(weights, other.encode(chunk, carry), chunk, carry).loss_B

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        tokens_BT = chunk.tokens_BT.to(self.device)
        x_BTD, stem = self.lm.stem(tokens_BT, carry["stem"])
        return {"x_BTD": x_BTD, "stem": stem, "position_B": carry["stem"]["position"]}

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        targets_BT, mask_BT = chunk.targets_BT.to(self.device), chunk.mask_BT.to(self.device)
        logits_BTV, suffix = self.read(weights, features, carry)
        weight_BT = chunk.inputs.get(OUTER_WEIGHT)
        last_B = targets_BT[:, -1].clone(memory_format=torch.contiguous_format)  # of its own: it will be stored
        after = {"stem": features["stem"], "suffix": suffix, "last_B": last_B}
        if weight_BT is None:
            return InnerOutput(cross_entropy_B(logits_BTV, targets_BT, mask_BT), after, logits_BTV=logits_BTV)
        nats = F.cross_entropy(logits_BTV.flatten(0, 1), targets_BT.flatten(), reduction="none")
        nats_BT, mask_BT = nats.view_as(targets_BT), mask_BT.to(nats.dtype)
        loss_B = (nats_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)
        return InnerOutput(loss_B, after, (nats_BT * weight_BT).sum(1), logits_BTV)

    def read(self, weights: Weights, features: Any, carry: Any) -> tuple[Tensor, Carry]:
        """``logits_BTV`` of a chunk and the suffix' carry, with ``weights`` in their place."""
        args = (features["x_BTD"], carry["suffix"] or None, features["position_B"])
        return functional_call(self._suffix, dict(weights), args)


def e2e_learner(
    lm: E2ETransformer, bos: int, *, rate_factor: float = 1.0, first_order: bool = False, rates: Any = None
) -> GradientLearner:
    """How ``lm`` learns as it reads: SGD with the rates and the clip of its config.

    ``rate_factor`` scales the rates (the inner warm-up); ``rates`` replaces them.
    """
    rates = lm.rates() if rates is None else rates
    if isinstance(rates, Mapping):
        rates = {name: rate * rate_factor for name, rate in rates.items()}
    else:
        rates = rates * rate_factor
    return GradientLearner(E2EReader(lm, bos), SGD(lr=rates, clip=lm.config.inner.clip), first_order=first_order)
