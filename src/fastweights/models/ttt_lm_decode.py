"""Lean decoding for one sequence: TTTLM's one-token step in numpy, equal to ``TTTLM.decode`` to 1e-5.

Most of a token's time in torch would be the overhead of some 300 calls. The fast weights here are the decoder's own
copies and change in place. Legend: D channels, H heads, L tokens of a chunk, d width of a head, F output width.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastweights.layers.attention import WindowAttention
from fastweights.layers.conv import CausalConv
from fastweights.layers.ttt import TTTLayer
from fastweights.models.ttt_lm import TTTLM, AttentionBlock, Block, Carry

Array = NDArray[np.float32]
_GELU = math.sqrt(2 / math.pi)


def _array(x: Tensor | None) -> Array:
    assert x is not None
    return np.array(x.detach().to("cpu", torch.float32).numpy())


def _gelu(x: Array) -> tuple[Array, Array]:
    """``(gelu(x), its tanh)``."""
    t: Array = np.tanh(_GELU * (x + 0.044715 * x * x * x))
    return 0.5 * x * (1 + t), t


def _gelu_slope(x: Array, t: Array) -> Array:
    slope = 0.5 * x * (1 - t * t) * (_GELU + 3 * 0.044715 * _GELU * x * x) + 0.5 * (1 + t)
    return slope.astype(np.float32, copy=False)


class _RMSNorm:
    def __init__(self, norm: nn.RMSNorm) -> None:
        self.weight = _array(norm.weight)
        self.eps = norm.eps or 0.0

    def __call__(self, x_D: Array) -> Array:
        return x_D * (self.weight * np.float32(1 / math.sqrt(float(x_D.dot(x_D)) / x_D.size + self.eps)))


class _Conv:
    """A causal convolution; ``past`` is its window, oldest first."""

    def __init__(self, conv: CausalConv) -> None:
        self.taps_KD, self.bias = _array(conv.weight)[::-1].copy(), _array(conv.bias)

    def __call__(self, x_D: Array, past_KD: Array) -> Array:
        return np.add.reduce(past_KD * self.taps_KD[:-1], axis=0) + x_D * self.taps_KD[-1] + self.bias


class _Mixer:
    def __init__(self, layer: TTTLayer) -> None:
        self.config = layer.config
        heads = [layer.q, layer.v] if layer.k is None else [layer.q, layer.v, layer.k]
        self.project = np.concatenate([*(_array(linear.weight) for linear in heads), _array(layer.rate_weight)])
        self.rate_bias = _array(layer.rate_bias)
        self.out = _array(layer.o.weight)
        self.gate = None if layer.gate is None else _array(layer.gate.weight)
        self.conv_q = None if layer.conv_q is None else _Conv(layer.conv_q)
        self.conv_k = None if layer.conv_k is None else _Conv(layer.conv_k)
        self.gain, self.shift = (None if p is None else _array(p)[:, None] for p in (layer.ln_gain, layer.ln_bias))
        self.post = None if layer.post_norm is None else (_array(layer.post_norm.weight), _array(layer.post_norm.bias))
        self.row_L = [float(r) for r in layer._rows().detach()]
        self.depth = len(layer.inner.widths(1, 1))
        self.carry: dict[str, Array] = {}

    def __call__(self, x_D: Array, turn_C: NDArray[np.complex64], phase: int) -> Array:
        config, D = self.config, x_D.size
        y = self.project @ x_D
        q_D, v_D = y[:D], y[D : 2 * D]
        if self.conv_q is not None and self.conv_k is not None:
            past_KD = self.carry["conv"]
            q_D, k_D, raw_D = self.conv_q(q_D, past_KD), self.conv_k(q_D, past_KD), q_D
            if len(past_KD):
                past_KD[:-1] = past_KD[1:]
                past_KD[-1] = raw_D
        else:
            k_D = y[2 * D : 3 * D]
        rate_H = np.tanh((y[-self.rate_bias.size :] + self.rate_bias) * np.float32(0.5))
        c_H11 = ((rate_H + 1) * np.float32(0.5 * config.col_scale))[:, None, None]
        shape = (config.heads, 1, config.head_dim)
        q = (q_D.view(np.complex64).reshape(config.heads, 1, -1) * turn_C).view(np.float32)
        k = (k_D.view(np.complex64).reshape(config.heads, 1, -1) * turn_C).view(np.float32)
        z = (self._online if config.decode == "online" else self._anchored)(q, k, v_D.reshape(shape), c_H11, phase)
        xhat, _ = self._normalize(z)
        if self.gain is not None and self.shift is not None:
            xhat *= self.gain
            xhat += self.shift
        return self._leave(x_D, (xhat + q).reshape(-1))

    def _online(self, q: Array, k: Array, v: Array, c: Array, phase: int) -> Array:
        if phase:
            self._fold(1.0)
        before = self._read(q, 0, 0.0) if self.config.strict else None
        for i, (a, u) in enumerate(self._pulls(k, v), 1):
            u *= c
            self.carry[f"W{i}"] -= a.transpose(0, 2, 1) * u
            if f"b{i}" in self.carry:
                self.carry[f"b{i}"] -= u
        return self._read(q, 0, 0.0) if before is None else before

    def _anchored(self, q: Array, k: Array, v: Array, c: Array, phase: int) -> Array:
        for i, (a, u) in enumerate(self._pulls(k, v), 1):
            self.carry[f"a{i}"][:, phase] = a[:, 0]
            self.carry[f"u{i}"][:, phase] = (u * c)[:, 0]
        z = self._read(q, phase if self.config.strict else phase + 1, self.row_L[phase])
        if phase + 1 == self.config.chunk:
            self._fold(self.row_L[-1])
        return z

    def _read(self, q: Array, rows: int, row: float) -> Array:
        for i in range(1, self.depth + 1):
            w, b, a, u = (self.carry.get(f"{name}{i}") for name in "Wbau")
            assert w is not None
            assert a is not None
            assert u is not None
            z = q @ w
            if b is not None:
                z += b
            if rows:
                scores = q @ a[:, :rows].transpose(0, 2, 1)
                if b is not None:
                    scores += 1
                scores *= np.float32(row)
                z -= scores @ u[:, :rows]
            q = z if i == self.depth else _gelu(z)[0]
        return q

    def _pulls(self, k: Array, v: Array) -> list[tuple[Array, Array]]:
        """Input and unscaled gradient of each fast layer."""
        z, inputs, hidden = k, [], []
        for i in range(1, self.depth + 1):
            inputs.append(z)
            z = z @ self.carry[f"W{i}"]
            if f"b{i}" in self.carry:
                z += self.carry[f"b{i}"]
            if i < self.depth:
                g, t = _gelu(z)
                hidden.append((z, t))
                z = g
        x, rstd = self._normalize(z)
        g = k - v
        if self.gain is None or self.shift is None:
            g += x
        else:
            g += self.shift
            g += self.gain * x
            g *= self.gain
        d = g.shape[-1]
        g -= np.add.reduce(g, axis=-1, keepdims=True) / d
        g -= x * (np.add.reduce(g * x, axis=-1, keepdims=True) / d)
        g *= rstd
        if self.depth == 1:
            return [(inputs[0], g)]
        first = (g @ self.carry["W2"].transpose(0, 2, 1)) * _gelu_slope(*hidden[0])
        return [(inputs[0], first), (inputs[1], g)]

    def _normalize(self, z: Array) -> tuple[Array, Array]:
        d = z.shape[-1]
        x = z - np.add.reduce(z, axis=-1, keepdims=True) / d
        rstd = 1 / np.sqrt(np.add.reduce(x * x, axis=-1, keepdims=True) / d + np.float32(self.config.norm_eps))
        x *= rstd
        return x, rstd

    def _fold(self, weight: float) -> None:
        for i in range(1, self.depth + 1):
            a, u = self.carry[f"a{i}"], self.carry[f"u{i}"]
            self.carry[f"W{i}"] -= np.float32(weight) * (a.transpose(0, 2, 1) @ u)
            if f"b{i}" in self.carry:
                self.carry[f"b{i}"] -= np.float32(weight) * u.sum(1, keepdims=True)
            a[:] = 0
            u[:] = 0

    def _leave(self, x_D: Array, y_D: Array) -> Array:
        if self.post is not None:
            y_D = y_D - np.add.reduce(y_D) / np.float32(y_D.size)
            y_D *= np.float32(1 / math.sqrt(float(y_D.dot(y_D)) / y_D.size + self.config.norm_eps))
            y_D = y_D * self.post[0] + self.post[1]
        if self.gate is not None:
            y_D = _gelu(self.gate @ x_D)[0] * y_D
        return self.out @ y_D


class _Attention:
    """Window attention; ``seen`` of the window's last rows hold tokens."""

    def __init__(self, layer: WindowAttention) -> None:
        self.heads, self.keep = layer.heads, layer.window - 1
        self.project = np.concatenate([_array(linear.weight) for linear in (layer.q, layer.k, layer.v)])
        self.out = _array(layer.o.weight)
        self.norms = [_RMSNorm(norm) for norm in (layer.q_norm, layer.k_norm) if norm is not None]
        self.carry: dict[str, Array] = {}
        self.seen = 0

    def __call__(self, x_D: Array, turn_C: NDArray[np.complex64], phase: int) -> Array:
        q_HD, k_HD, v_HD = (self.project @ x_D).reshape(3, self.heads, -1)
        if self.norms:
            q_HD, k_HD = (
                np.stack([norm(x) for x in rows]) for norm, rows in zip(self.norms, (q_HD, k_HD), strict=True)
            )
        q_HD, k_HD = ((x.view(np.complex64) * turn_C).view(np.float32) for x in (q_HD, k_HD))
        keys, values = (self._with(name, now.reshape(-1)) for name, now in (("keys", k_HD), ("values", v_HD)))
        self.seen = min(self.seen + 1, self.keep)
        scores_HS = (keys.transpose(1, 0, 2) @ q_HD[:, :, None])[:, :, 0] / np.float32(math.sqrt(q_HD.shape[1]))
        p_HS = np.exp(scores_HS - scores_HS.max(axis=1, keepdims=True))
        p_HS /= p_HS.sum(axis=1, keepdims=True)
        return self.out @ (p_HS[:, None] @ values.transpose(1, 0, 2)).reshape(-1)

    def _with(self, name: str, now_D: Array) -> Array:
        """The window of this token, ``[S, H, D]``; the carry moves on."""
        past_KD = self.carry[name]
        rows_SD = np.concatenate([past_KD[self.keep - self.seen :], now_D[None]])
        if self.keep:
            past_KD[:-1] = past_KD[1:]
            past_KD[-1] = now_D
        return rows_SD.reshape(len(rows_SD), self.heads, -1)


class _Block:
    def __init__(self, block: Block | AttentionBlock) -> None:
        self.conv_norm = self.conv = None
        if isinstance(block, Block):
            self.conv_norm = None if block.conv_norm is None else _RMSNorm(block.conv_norm)
            self.conv = None if block.conv is None else _Conv(block.conv)
        self.mixer_norm = _RMSNorm(block.mixer_norm)
        self.mixer = _Mixer(block.mixer) if isinstance(block, Block) else _Attention(block.mixer)
        self.mlp_norm = _RMSNorm(block.mlp_norm)
        self.up = np.concatenate([_array(block.mlp.gate.weight), _array(block.mlp.up.weight)])
        self.down = _array(block.mlp.down.weight)

    def __call__(self, x_D: Array, turn_C: NDArray[np.complex64], phase: int) -> Array:
        if self.conv is not None and self.conv_norm is not None:
            past_KD, n_D = self.mixer.carry["pre_conv"], self.conv_norm(x_D)
            x_D = x_D + self.conv(n_D, past_KD)
            if len(past_KD):
                past_KD[:-1] = past_KD[1:]
                past_KD[-1] = n_D
        x_D = x_D + self.mixer(self.mixer_norm(x_D), turn_C, phase)
        h = self.up @ self.mlp_norm(x_D)
        gate_H, up_H = h[: h.size // 2], h[h.size // 2 :]
        up_H *= gate_H
        up_H *= np.float32(0.5)
        gate_H *= np.float32(0.5)
        up_H *= 1 + np.tanh(gate_H)  # x sigmoid(x) without overflow
        x_D += self.down @ up_H
        return x_D


class TTTDecoder:
    """One sequence through a frozen copy of a model's weights (fp32), its state carried; see :meth:`TTTLM.decode`.

    Starts from the empty carry. The model may change or go away afterwards; the copy does not.
    """

    def __init__(self, model: TTTLM) -> None:
        self._config, self._still = model.config.mixer, model.config.attention is not None
        self._token = _array(model.embedding.weight)
        self._blocks = [_Block(block) for block in model.layers if isinstance(block, (Block, AttentionBlock))]
        self._norm, self._head = _RMSNorm(model.norm), _array(model.head.weight)
        width = self._config.head_dim
        self._turns = 1j * self._config.rope_theta ** (-np.arange(0, width, 2) / width)
        self._position = self._phase = 0
        self.load(model.init_carry(1))

    def load(self, carry: Carry) -> None:
        """Continue from a torch carry of one sequence (B = 1); its tensors are copied."""
        for name, value in carry.items():
            if value.shape[0] != 1:
                raise ValueError(f"carry[{name!r}] holds {value.shape[0]} sequences; a decoder follows exactly one")
        for i, block in enumerate(self._blocks):
            prefix = f"layers.{i}."
            block.mixer.carry = {k[len(prefix) :]: _array(v[0]) for k, v in carry.items() if k.startswith(prefix)}
            if isinstance(block.mixer, _Attention):
                block.mixer.seen = min(int(carry["position"]), block.mixer.keep)
        self._position, self._phase = int(carry["position"]), int(carry["phase"])

    def carry(self) -> Carry:
        """The state as a torch carry (B = 1, fp32), copied."""
        out: Carry = {
            f"layers.{i}.{k}": torch.from_numpy(v.copy()).unsqueeze(0)
            for i, block in enumerate(self._blocks)
            for k, v in block.mixer.carry.items()
        }
        return out | {"position": torch.tensor([self._position]), "phase": torch.tensor([self._phase])}

    def step(self, token: int) -> Array:
        """Reads one token and returns ``h_D``, the hidden state after the final norm."""
        x_D: Any = self._token[token]
        config = self._config
        place = self._position % config.chunk if config.rope_mod_chunk else self._position
        turn_C = np.exp(place * self._turns).astype(np.complex64)
        for block in self._blocks:
            x_D = block(x_D, turn_C, self._phase)
        self._position += 1
        self._phase = 0 if config.decode == "online" or self._still else (self._phase + 1) % config.chunk
        return self._norm(x_D)

    def logits(self, h_D: Array) -> Array:
        """Next-token logits ``(V,)`` of a hidden state."""
        return self._head @ h_D
