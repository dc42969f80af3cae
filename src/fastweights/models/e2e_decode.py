"""Lean decoding for one sequence: a TTT-E2E model in numpy, one token at a time, with the fast weights of its carry.

Keys and values are kept in a ring of one window, so a token costs the same wherever it stands. Legend: D channels, V
vocabulary, H heads, K keys kept, W width of a head.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.models.e2e import Carry, E2ETransformer

Array = NDArray[np.float32]
_Get = Callable[[str], Array]


def _array(x: Tensor) -> Array:
    return x.detach().to("cpu", torch.float32).numpy()


def _columns(*weights: Array) -> Array:
    """Matrices with many rows, side by side and transposed: ``x @ it`` reads long rows, 2.5 times as fast."""
    return np.ascontiguousarray(np.concatenate(weights).T)


def _normed(x: Array, weight: Array, eps: float) -> Array:
    """RMSNorm over the last dimension."""
    if x.ndim == 1:
        return x * np.float32(1 / math.sqrt(float(x.dot(x)) / x.size + eps)) * weight
    square = np.einsum("...d,...d->...", x, x) / np.float32(x.shape[-1]) + np.float32(eps)
    y: Array = x * (np.float32(1) / np.sqrt(square))[..., None]
    return np.multiply(y, weight, out=y)


class _SwiGLU:
    def __init__(self, get: _Get, name: str) -> None:
        self.into = _columns(get(f"{name}.gate.weight"), get(f"{name}.up.weight"))
        self.down = get(f"{name}.down.weight")

    def __call__(self, x_D: Array) -> Array:
        y_H = x_D @ self.into
        hidden, half = len(y_H) // 2, np.float32(0.5)
        gate_H, up_H = y_H[:hidden], y_H[hidden:]
        silu_H: Array = np.tanh(gate_H * half)  # never overflows
        silu_H *= half
        silu_H += half
        silu_H *= gate_H
        silu_H *= up_H
        return self.down @ silu_H


class _Ring:
    """The last ``kept`` keys and values. Their order means nothing to attention: each is turned by its own position."""

    def __init__(self, heads: int, kept: int, width: int) -> None:
        self.keys_HKW = np.zeros((heads, kept, width), np.float32)
        self.values_HKW = np.zeros_like(self.keys_HKW)

    def fill(self, keys_TD: Array, values_TD: Array, position: int) -> None:
        """What a carry holds: the tokens before ``position``, the last of them last."""
        H, kept, W = self.keys_HKW.shape
        seen = min(len(keys_TD), position, kept)
        slots = np.arange(position - seen, position) % kept
        for ring, x_TD in ((self.keys_HKW, keys_TD), (self.values_HKW, values_TD)):
            ring[:, slots] = x_TD[len(x_TD) - seen :].reshape(seen, H, W).transpose(1, 0, 2)

    def last(self, tokens: int, position: int) -> tuple[Array, Array]:
        """Of the last ``tokens`` before ``position``, as a carry has them: ``[tokens, D]``, zeros before the first."""
        H, kept, W = self.keys_HKW.shape
        seen = min(tokens, position)
        slots = np.arange(position - seen, position) % kept
        out = []
        for ring in (self.keys_HKW, self.values_HKW):
            x_TD = np.zeros((tokens, H * W), np.float32)
            x_TD[tokens - seen :] = ring[:, slots].transpose(1, 0, 2).reshape(seen, H * W)
            out.append(x_TD)
        return out[0], out[1]


class _Block:
    def __init__(self, lm: E2ETransformer, get: _Get, name: str, prime: bool) -> None:
        config, attention = lm.config, f"{name}.attention"
        self.eps, self.heads = config.norm_eps, config.heads
        self.scale = np.float32((config.dim // config.heads) ** -0.5)
        self.attention_norm, self.norm = get(f"{name}.attention_norm.weight"), get(f"{name}.feed_forward_norm.weight")
        self.qkv = _columns(*(get(f"{attention}.{one}.weight") for one in "qkv"))
        self.out = get(f"{attention}.o.weight")
        self.q_norm = get(f"{attention}.q_norm.weight") if config.qk_norm else None
        self.k_norm = get(f"{attention}.k_norm.weight") if config.qk_norm else None
        self.prime_norm = get(f"{name}.prime_norm.weight") if prime else None
        self.prime = _SwiGLU(get, f"{name}.feed_forward_prime") if prime else None
        self.static = _SwiGLU(get, f"{name}.feed_forward")

    def mix(self, x_D: Array, ring: _Ring, position: int, turn_C: NDArray[np.complex64]) -> Array:
        q_HW, k_HW, v_HW = (_normed(x_D, self.attention_norm, self.eps) @ self.qkv).reshape(3, self.heads, -1)
        if self.q_norm is not None and self.k_norm is not None:
            q_HW, k_HW = _normed(q_HW, self.q_norm, self.eps), _normed(k_HW, self.k_norm, self.eps)
        kept = ring.keys_HKW.shape[1]
        slot, seen = position % kept, min(position + 1, kept)
        ring.keys_HKW[:, slot] = (k_HW.view(np.complex64) * turn_C).view(np.float32)
        ring.values_HKW[:, slot] = v_HW
        q_HW = (q_HW.view(np.complex64) * turn_C).view(np.float32) * self.scale
        p_HK = np.matmul(ring.keys_HKW[:, :seen], q_HW[:, :, None])[:, :, 0]
        p_HK -= p_HK.max(1, keepdims=True)
        np.exp(p_HK, out=p_HK)
        y_HW = np.matmul(p_HK[:, None], ring.values_HKW[:, :seen])[:, 0] / p_HK.sum(1, keepdims=True)
        return x_D + self.out @ y_HW.reshape(-1)

    def feed(self, x_D: Array) -> Array:
        if self.prime is not None and self.prime_norm is not None:
            x_D = x_D + self.prime(_normed(x_D, self.prime_norm, self.eps))
        return x_D + self.static(_normed(x_D, self.norm, self.eps))


class E2EDecoder:
    """What the model answers with its fast weights as they are: constant cost and memory a token.

    A carry is the model's own and, by the names of their parameters, the fast weights (``[1, ...]``; those that it
    lacks stay where training has put them). ``kept``: keys and values kept; none: the window. One of a whole text is
    full attention, with no carry to give or take.
    """

    def __init__(self, lm: E2ETransformer, kept: int | None = None) -> None:
        config = lm.config
        self._lm, self._config, self._mixed_early = lm, config, lm.mixed_early
        self._own = {name: _array(p) for name, p in lm.named_parameters() if name != "inner_log_rates"}
        self._learned: Carry = {}
        self._position = 0
        width = config.dim // config.heads
        self._rings = [_Ring(config.heads, kept or config.window, width) for _ in range(config.layers)]
        self._frequency = config.rope_theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
        names = [f"prefix_blocks.{i}" for i in range(config.prefix_layers)]
        self._prefix = [_Block(lm, self._own.__getitem__, name, prime=False) for name in names]
        self._take({})
        self.stem_D: Array = np.zeros(config.dim, np.float32)
        """Of the last token: :meth:`~fastweights.models.e2e.E2ETransformer.stem`'s reading."""

    @property
    def state_bytes(self) -> int:
        """Of fast weights, keys and values."""
        learned = sum(self._own[name].nbytes for name in self._lm.fast_names)
        return learned + sum(ring.keys_HKW.nbytes + ring.values_HKW.nbytes for ring in self._rings)

    def _take(self, learned: Mapping[str, Tensor]) -> None:
        """Puts fast weights in their parameters' place."""
        self._learned = dict(learned)
        arrays = {**self._own, **{name: _array(w[0]) for name, w in learned.items()}}
        names = [f"suffix_blocks.{i}" for i in range(self._config.suffix_layers)]
        self._suffix = [_Block(self._lm, arrays.__getitem__, name, prime=True) for name in names]
        self._norm, self._head = arrays["ln_f.weight"], arrays["head.weight"]

    def load(self, carry: Carry) -> None:
        """Continue from a carry of one sequence (B = 1)."""
        learned = {name: w for name, w in carry.items() if name in self._own}
        if learned.keys() != self._learned.keys() or any(w is not self._learned[name] for name, w in learned.items()):
            self._take(learned)
        self._position = int(carry["position"][0])
        for i, ring in enumerate(self._rings):
            ring.fill(_array(carry[f"{i}.keys"][0]), _array(carry[f"{i}.values"][0]), self._position)

    def carry(self) -> Carry:
        """Where it stands: a value."""
        carry: Carry = {**self._learned, "position": torch.tensor([self._position])}
        for i, ring in enumerate(self._rings):
            keys, values = ring.last(self._config.window - 1, self._position)
            carry |= {f"{i}.keys": torch.from_numpy(keys)[None], f"{i}.values": torch.from_numpy(values)[None]}
        return carry

    def stand_at(self, position: int, seed: int = 0) -> None:
        """As if so many tokens had been read, with random keys and values: where only the cost matters."""
        rng, kept = np.random.default_rng(seed), min(position, self._rings[0].keys_HKW.shape[1])
        for ring in self._rings:
            for x_HKW in (ring.keys_HKW, ring.values_HKW):
                x_HKW[:, :kept] = rng.standard_normal(x_HKW[:, :kept].shape, dtype=np.float32)
        self._position = position

    def step(self, token: int) -> Array:
        """Reads one token and returns ``h_D``, the hidden state after the final norm."""
        position = self._position
        turn_C = np.exp(1j * (position * self._frequency)).astype(np.complex64)
        x_D, stem = self._own["embedding.weight"][token], len(self._prefix)
        for i, (block, ring) in enumerate(zip([*self._prefix, *self._suffix], self._rings, strict=True)):
            before_D, x_D = x_D, block.mix(x_D, ring, position, turn_C)
            if i == stem:
                self.stem_D = x_D if self._mixed_early else before_D
            x_D = block.feed(x_D)
        self._position += 1
        return _normed(x_D, self._norm, self._config.norm_eps)

    def logits(self, h_D: NDArray[np.floating]) -> Array:
        """Next-token logits ``(V,)`` of a hidden state."""
        return self._head @ h_D.astype(np.float32, copy=False)
