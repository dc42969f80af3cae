"""TTTLM: a Llama-style language model whose sequence layers are TTT layers; its state is the layers' fast weights.

For comparison, the same model may have window attention in their place (``config.attention``).

Legend: B sequences, T time, D channels, V vocabulary, H hidden width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fastweights.errors import Unsupported
from fastweights.layers.attention import WindowAttention
from fastweights.layers.conv import CausalConv
from fastweights.layers.linear import Linear
from fastweights.layers.ttt import TTTLayer
from fastweights.layers.ttt_span import Span
from fastweights.models.ttt_lm_config import TTTLMConfig, inner_flops

Carry = dict[str, Tensor]
"""Flat: ``"layers.<i>.<name>"`` (see :mod:`fastweights.layers.ttt`), ``"position"`` and ``"phase"``; B comes first."""

_COUNTERS = ("position", "phase")


def _recomputed(run: Callable[..., tuple[Tensor, Carry]], *args: Any) -> tuple[Tensor, Carry]:
    """``run(*args)``, of which only ``args`` are kept for the backward."""
    return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False)  # pyright: ignore[reportReturnType]


class SwiGLU(nn.Module):
    """``down(silu(gate x) * up x)`` (Shazeer, 2020)."""

    def __init__(self, dim: int, hidden: int, std: float) -> None:
        super().__init__()
        self.gate = Linear(dim, hidden)
        self.up = Linear(dim, hidden)
        self.down = Linear(hidden, dim)
        for linear in (self.gate, self.up, self.down):
            nn.init.normal_(linear.weight, std=std)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """Residual branches: (convolution,) TTT layer, SwiGLU, each after an RMSNorm."""

    def __init__(self, config: TTTLMConfig) -> None:
        super().__init__()
        mixer, D = config.mixer, config.dim
        self.conv_norm = nn.RMSNorm(D, config.norm_eps) if mixer.pre_conv else None
        self.conv = CausalConv(D, mixer.conv_taps, bias=True) if mixer.pre_conv else None
        self.mixer_norm = nn.RMSNorm(D, config.norm_eps)
        self.mixer = TTTLayer(mixer)
        self.mlp_norm = nn.RMSNorm(D, config.norm_eps)
        self.mlp = SwiGLU(D, config.hidden, mixer.init_std)

    def init_carry(self, batch: int) -> Carry:
        carry = self.mixer.init_carry(batch)
        if self.conv is not None:
            carry["pre_conv"] = self.conv.init_carry(batch)
        return carry

    def forward(self, x_BTD: Tensor, carry: Carry, span: Span, *, learn: bool, decode: bool) -> tuple[Tensor, Carry]:
        if "W1" not in carry:  # a fresh start: here, where a model in shards has this block's W0 at hand
            carry = self.init_carry(x_BTD.shape[0]) | carry
        if self.conv is not None and self.conv_norm is not None:
            past_BKD, n_BTD = carry["pre_conv"], self.conv_norm(x_BTD)
            y_BTD, after = self.conv(n_BTD, past_BKD)
            if span.lengths is not None:
                after = span.window(torch.cat([past_BKD.to(n_BTD.dtype), n_BTD], dim=1), past_BKD.shape[1])
            x_BTD, carry = x_BTD + y_BTD, {**carry, "pre_conv": after.to(past_BKD.dtype)}
        n_BTD = self.mixer_norm(x_BTD)
        if decode:
            y_BTD, carry = self.mixer.decode(n_BTD, carry, span=span)
        else:
            y_BTD, carry = self.mixer(n_BTD, carry, learn=learn, span=span)
        x_BTD = x_BTD + y_BTD
        return x_BTD + self.mlp(self.mlp_norm(x_BTD)), carry


class AttentionBlock(nn.Module):
    """As :class:`Block`, with window attention in the TTT layer's place: no weight is fast, the carry is a window."""

    def __init__(self, config: TTTLMConfig) -> None:
        super().__init__()
        mixer, D = config.mixer, config.dim
        assert config.attention is not None
        self.mixer_norm = nn.RMSNorm(D, config.norm_eps)
        self.mixer = WindowAttention(
            D,
            mixer.heads,
            config.attention.window,
            qk_norm=config.attention.qk_norm,
            rope_theta=mixer.rope_theta,
            norm_eps=config.norm_eps,
            init_std=mixer.init_std,
        )
        self.mlp_norm = nn.RMSNorm(D, config.norm_eps)
        self.mlp = SwiGLU(D, config.hidden, mixer.init_std)

    def init_carry(self, batch: int) -> Carry:
        carry = self.mixer.init_carry(batch)
        return {**carry, "phase": torch.zeros_like(carry["position"])}

    def forward(self, x_BTD: Tensor, carry: Carry, span: Span, *, learn: bool, decode: bool) -> tuple[Tensor, Carry]:
        y_BTD, carry = self.mixer(self.mixer_norm(x_BTD), carry, lengths=span.lengths, turns=span.rotations)
        x_BTD = x_BTD + y_BTD
        return x_BTD + self.mlp(self.mlp_norm(x_BTD)), carry


class TTTLM(nn.Module):
    """A language model that learns as it reads; the carry goes in and comes out, nothing is kept inside.

    Reading a text in pieces, cut anywhere, equals reading it whole. ``decode`` reads one token as
    ``config.mixer.decode`` says. Computes in the dtype of its parameters, its fast weights in fp32 at least.
    """

    def __init__(self, config: TTTLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(
            Block(config) if config.attention is None else AttentionBlock(config) for _ in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.head = Linear(config.dim, config.vocab_size)
        nn.init.normal_(self.embedding.weight, std=config.mixer.init_std)
        nn.init.normal_(self.head.weight, std=config.mixer.init_std)
        self._tie()
        self.register_load_state_dict_post_hook(lambda module, _: module._tie())

    def _tie(self) -> None:
        if self.config.tie_head:
            self.head.weight = self.embedding.weight

    def inner_flops(self, seq_len: int) -> float:
        """FLOPs a token of the inner loops, forward; the same at any length."""
        return inner_flops(self.config)

    @property
    def blocks(self) -> list[Block]:
        """The blocks that learn. Raises :class:`Unsupported` for a model of window attention, which has none."""
        if self.config.attention is not None:
            raise Unsupported("a model of window attention has no fast weights: take one of TTT layers")
        return [block for block in self.layers if isinstance(block, Block)]

    def init_carry(self, batch: int) -> Carry:
        """The carry before any token: each layer's learned W0, copied for ``batch`` sequences."""
        carry: Carry = {}
        for i, block in enumerate(self.layers):
            assert isinstance(block, (Block, AttentionBlock))
            state = block.init_carry(batch)
            carry |= {f"layers.{i}.{name}": value for name, value in state.items() if name not in _COUNTERS}
            carry |= {name: state[name] for name in _COUNTERS}
        return carry

    def _counters(self, tokens_BT: Tensor) -> Carry:
        """Of sequences that start afresh; each block adds the rest of its carry itself."""
        return {name: torch.zeros_like(tokens_BT[:, 0], dtype=torch.int64) for name in _COUNTERS}

    def hidden(
        self,
        tokens_BT: Tensor,
        carry: Carry | None = None,
        *,
        lengths: Sequence[int] | None = None,
        learn: bool = True,
    ) -> tuple[Tensor, Carry]:
        """Hidden states ``h_BTD`` (after the final norm) of integer ``tokens_BT``, T >= 1, and the carry after them.

        ``lengths`` and ``learn`` as in :meth:`fastweights.layers.ttt.TTTLayer.forward`.
        """
        carry = self._counters(tokens_BT) if carry is None else carry
        outs = []
        for start, piece_BT in self._pieces(tokens_BT, carry):
            real = None if lengths is None else [min(max(n - start, 0), piece_BT.shape[1]) for n in lengths]
            if piece_BT.shape[1] == tokens_BT.shape[1]:
                h_BTD, carry = self._read(piece_BT, carry, real, learn)
            else:
                h_BTD, carry = _recomputed(self._read, piece_BT, carry, real, learn)
            outs.append(h_BTD)
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1), carry

    def nats(self, tokens_BT: Tensor, targets_BT: Tensor, carry: Carry | None = None) -> tuple[Tensor, Carry]:
        """Cross entropy of each target, ``[B, T]`` in nats (fp32), and the carry.

        As ``forward`` and ``F.cross_entropy``; with checkpoints through time the logits, too, are held for one segment
        only, so that memory beside the carries does not grow with T.
        """
        carry = self._counters(tokens_BT) if carry is None else carry
        outs = []
        for start, piece_BT in self._pieces(tokens_BT, carry):
            want_BT = targets_BT.narrow(1, start, piece_BT.shape[1])
            if piece_BT.shape[1] == tokens_BT.shape[1]:
                nats_BT, carry = self._read_nats(piece_BT, want_BT, carry)
            else:
                nats_BT, carry = _recomputed(self._read_nats, piece_BT, want_BT, carry)
            outs.append(nats_BT)
        return torch.cat(outs, dim=1), carry

    def logits(self, h_BTD: Tensor) -> Tensor:
        """Next-token logits ``(…, V)`` of hidden states ``(…, D)``."""
        return self.head(h_BTD)

    def forward(
        self,
        tokens_BT: Tensor,
        carry: Carry | None = None,
        *,
        lengths: Sequence[int] | None = None,
        learn: bool = True,
    ) -> tuple[Tensor, Carry]:
        """``(logits_BTV, carry)``."""
        h_BTD, carry = self.hidden(tokens_BT, carry, lengths=lengths, learn=learn)
        return self.logits(h_BTD), carry

    def decode(self, tokens_B1: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """``(logits_B1V, carry)`` of one token of each sequence. Raises RuntimeError in training mode."""
        if self.training:
            raise RuntimeError("decode in training mode: call .eval() first; training reads chunks through forward")
        h_BTD, carry = self._read(tokens_B1, carry, None, True, decode=True)
        return self.logits(h_BTD), carry

    def _pieces(self, tokens_BT: Tensor, carry: Carry) -> list[tuple[int, Tensor]]:
        """Where to cut time for checkpoints: ``(start, tokens)``, at full chunks of the first sequence."""
        segment, T = self.config.checkpoint_n_chunks * self.config.mixer.chunk, tokens_BT.shape[1]
        if not segment or segment >= T or not (self.training and torch.is_grad_enabled()):
            return [(0, tokens_BT)]
        first = segment - int(carry["phase"][0])
        sizes = [first] + [segment] * ((T - first) // segment)
        sizes += [T - sum(sizes)] if sum(sizes) < T else []
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return list(zip(starts, tokens_BT.split(sizes, dim=1), strict=True))

    def _read_nats(self, tokens_BT: Tensor, targets_BT: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        h_BTD, carry = self._read(tokens_BT, carry, None, True)
        logits_BTV = self.logits(h_BTD)
        nats = F.cross_entropy(logits_BTV.flatten(0, 1).float(), targets_BT.flatten(), reduction="none")
        return nats.view_as(targets_BT), carry

    def _read(
        self, tokens_BT: Tensor, carry: Carry, lengths: Sequence[int] | None, learn: bool, decode: bool = False
    ) -> tuple[Tensor, Carry]:
        x_BTD = self.embedding(tokens_BT)
        counters = {name: carry[name] for name in _COUNTERS}
        dtype = torch.promote_types(self.embedding.weight.dtype, torch.float32)
        at = (counters["position"], counters["phase"])
        span = Span.of(self.config.mixer, tokens_BT.shape[1], *at, lengths, dtype)
        out: Carry = {}
        state: Carry = counters
        for i, block in enumerate(self.layers):  # called as they are: in shards, a block is wrapped
            prefix = f"layers.{i}."
            state = {name[len(prefix) :]: value for name, value in carry.items() if name.startswith(prefix)}
            x_BTD, state = block(x_BTD, state | counters, span, learn=learn, decode=decode)
            out |= {f"{prefix}{name}": value for name, value in state.items() if name not in _COUNTERS}
        out |= {name: state[name] for name in _COUNTERS}
        return self.norm(x_BTD), out
