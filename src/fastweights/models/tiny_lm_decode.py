"""Lean decoding for one sequence: TinyLM's recurrence in numpy, one token at a time, equal to torch to 1e-5.

A token of a 1M-parameter model costs about a tenth of a millisecond; most of torch's time would be call overhead.
Legend: D channels, V vocabulary, K taps, H hidden.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastweights.layers.gru import GRUBlock
from fastweights.layers.ngram import MIXER, MULTIPLIER, PRIME, NGramEmbedding
from fastweights.layers.ssm import SSMBlock
from fastweights.models.tiny_lm import Carry, TinyLM

Array = NDArray[np.float32]


def _array(x: Tensor) -> Array:
    return np.array(x.detach().to("cpu", torch.float32).numpy())


def _linear(layer: nn.Linear) -> tuple[Array, Array]:
    return _array(layer.weight), np.zeros(0, np.float32) if layer.bias is None else _array(layer.bias)


def _sigmoid(x: NDArray[Any]) -> Array:
    y: Array = np.tanh(x * np.float32(0.5))  # tanh never overflows
    y *= np.float32(0.5)
    y += np.float32(0.5)
    return y


class _Norm:
    def __init__(self, norm: nn.LayerNorm) -> None:
        self.weight = _array(norm.weight)
        self.bias = None if norm.bias is None else _array(norm.bias)
        self.eps, self.scale = norm.eps, 1.0 / self.weight.size

    def __call__(self, x_D: Array) -> Array:
        y_D = x_D - np.add.reduce(x_D) * np.float32(self.scale)
        y_D *= np.float32(1.0 / math.sqrt(float(y_D.dot(y_D)) * self.scale + self.eps))
        y_D *= self.weight
        if self.bias is not None:
            y_D += self.bias
        return y_D


class _Block(Protocol):
    """One residual block. ``carry`` holds its state by the names of the torch carry, without the B dimension."""

    carry: dict[str, Array]

    def __call__(self, x_D: Array) -> Array: ...


class _SSMBlock:
    def __init__(self, block: SSMBlock) -> None:
        mixer = block.mixer
        self.norm, self.mlp_norm = _Norm(block.norm), _Norm(block.mlp_norm)
        self.taps_KD = _array(mixer.conv.weight)
        self.project, self.bias = _linear(mixer.project)
        self.out, _ = _linear(mixer.out)
        self.up, _ = _linear(block.mlp.up)
        self.down, _ = _linear(block.mlp.down)
        self.carry: dict[str, Array] = {}

    def __call__(self, x_D: Array) -> Array:
        D = x_D.size
        past_KD, state_D = self.carry["conv"], self.carry["state"]  # oldest first, as in torch
        c_D = self.norm(x_D)
        y_D = c_D * self.taps_KD[0]
        if len(past_KD):
            y_D += np.add.reduce(past_KD * self.taps_KD[:0:-1], axis=0)
            past_KD[:-1] = past_KD[1:]
            past_KD[-1] = c_D
        zfg = self.project @ y_D
        zfg += self.bias
        z_D, g_D = zfg[:D], zfg[2 * D :]
        gates = _sigmoid(zfg[D:])
        state_D -= z_D
        state_D *= gates[:D]
        state_D += z_D  # a s + (1 - a) z
        g_D *= gates[D:]
        g_D *= state_D
        x_D = x_D + self.out @ g_D
        h_H = self.up @ self.mlp_norm(x_D)
        np.maximum(h_H, 0, out=h_H)
        h_H *= h_H
        x_D += self.down @ h_H
        return x_D


class _GRUBlock:
    def __init__(self, block: GRUBlock) -> None:
        self.norm = _Norm(block.norm)
        self.input, self.input_bias = _linear(block.mixer.input)
        self.recurrent, self.recurrent_bias = _linear(block.mixer.recurrent)
        self.carry: dict[str, Array] = {}

    def __call__(self, x_D: Array) -> Array:
        D = x_D.size
        h_D = self.carry["state"]
        x = self.input @ self.norm(x_D) + self.input_bias
        h = self.recurrent @ h_D + self.recurrent_bias
        gates = _sigmoid(x[: 2 * D] + h[: 2 * D])
        new_D = np.tanh(x[2 * D :] + gates[:D] * h[2 * D :])
        h_D -= new_D
        h_D *= gates[D:]
        h_D += new_D
        return x_D + h_D


class _NGrams:
    def __init__(self, embedding: NGramEmbedding) -> None:
        self.weight, self.orders = _array(embedding.weight), embedding.orders
        self.project, _ = _linear(embedding.project)
        self.past: list[int] = []  # newest first, each token plus one

    def __call__(self, token: int) -> Array:
        window = [token + 1, *self.past]
        rows, value = [], 0
        for back, item in enumerate(window):
            value = (value * MULTIPLIER + item) % PRIME
            if back + 1 in self.orders:
                rows.append((value * MIXER + back) % PRIME % len(self.weight))
        self.past = window[:-1]
        return self.project @ self.weight[rows].ravel()


class Decoder:
    """One sequence through a frozen copy of a model's weights (fp32), its state carried; see :class:`TinyLM`.

    Starts from the empty carry. The model may change or go away afterwards; the copy does not.
    """

    def __init__(self, model: TinyLM) -> None:
        self._token = _array(model.embedding.token.weight)
        self._ngrams = None if model.embedding.ngram is None else _NGrams(model.embedding.ngram)
        self._blocks: list[_Block] = []
        for layer in model.backbone.layers:
            if isinstance(layer, SSMBlock):
                self._blocks.append(_SSMBlock(layer))
            else:
                assert isinstance(layer, GRUBlock)
                self._blocks.append(_GRUBlock(layer))
        self._norm = _Norm(model.norm)
        self._head, self._head_bias = _linear(model.head)
        self.load(model.init_carry(1))

    def load(self, carry: Carry) -> None:
        """Continue from a torch carry of one sequence (B = 1); its tensors are copied."""
        for name, value in carry.items():
            if value.shape[0] != 1:
                raise ValueError(f"carry[{name!r}] holds {value.shape[0]} sequences; a Decoder follows exactly one")
        for i, block in enumerate(self._blocks):
            prefix = f"layers.{i}."
            block.carry = {k[len(prefix) :]: _array(v[0]) for k, v in carry.items() if k.startswith(prefix)}
        if self._ngrams is not None:
            self._ngrams.past = [int(token) for token in carry["past"][0].tolist()[::-1]]

    def carry(self) -> Carry:
        """The state as a torch carry (B = 1, fp32), copied."""
        out: Carry = {}
        if self._ngrams is not None:
            out["past"] = torch.tensor([self._ngrams.past[::-1]], dtype=torch.int64)
        for i, block in enumerate(self._blocks):
            out |= {f"layers.{i}.{k}": torch.from_numpy(v.copy()).unsqueeze(0) for k, v in block.carry.items()}
        return out

    def step(self, token: int) -> Array:
        """Reads one token and returns ``h_D``, the hidden state after the final norm."""
        x_D = self._token[token]
        if self._ngrams is not None:
            x_D = x_D + self._ngrams(token)
        for block in self._blocks:
            x_D = block(x_D)
        return self._norm(x_D)

    def logits(self, h_D: Array) -> Array:
        """Next-token logits ``(V,)`` of a hidden state."""
        return self._head @ h_D + self._head_bias
