"""The official TTT-LM's maths, written down once more and independently: slow loops, its parameter names, its order.

One token at a time over an anchored chunk (Sun et al., 2024; conventions of the official code): X @ W, target V - K,
eta = max(1/(i+1) + offset_i, 0) * base * sigmoid(...) / head_dim; a token reads its own step too.
"""

import math
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean).pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def conv(x_TD: Tensor, weight_D1K: Tensor, bias_D: Tensor) -> Tensor:
    K = weight_D1K.shape[-1]
    rows = []
    for t in range(len(x_TD)):
        taps = [weight_D1K[:, 0, K - 1 - back] * x_TD[t - back] for back in range(min(K, t + 1))]
        rows.append(torch.stack(taps).sum(0) + bias_D)
    return torch.stack(rows)


def turn(x_d: Tensor, position: int, theta: float) -> Tensor:
    out = []
    for i in range(0, len(x_d), 2):
        angle = position * theta ** (-i / len(x_d))
        a, b = x_d[i], x_d[i + 1]
        out += [a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)]
    return torch.stack(out)


def inner(x: Tensor, fast: list[Tensor]) -> Tensor:
    z = x @ fast[0] + fast[1]
    return z if len(fast) == 2 else gelu(z) @ fast[2] + fast[3]


def mixer(p: State, x_TD: Tensor, config: dict[str, Any]) -> Tensor:
    H, L = config["num_attention_heads"], config["mini_batch_size"]
    D = x_TD.shape[1]
    d = D // H
    q_TD = x_TD @ p["q_proj.weight"].T
    if config["share_qk"]:
        k_TD = conv(q_TD, p["conv_k.weight"], p["conv_k.bias"])
        q_TD = conv(q_TD, p["conv_q.weight"], p["conv_q.bias"])
    else:
        k_TD = x_TD @ p["k_proj.weight"].T
    v_TD = x_TD @ p["v_proj.weight"].T
    heads = []
    for h in range(H):
        part = slice(h * d, (h + 1) * d)
        names = ("W1", "b1") if config["ttt_layer_type"] == "linear" else ("W1", "b1", "W2", "b2")
        anchor = [p[name][h] for name in names]
        gain, bias = p["ttt_norm_weight"][h], p["ttt_norm_bias"][h]
        rows = []
        total: list[Tensor] = []
        for t in range(len(x_TD)):
            place = t % L
            if place == 0:
                total = [torch.zeros_like(w) for w in anchor]
            k = turn(k_TD[t, part], place, config["rope_theta"])[None]
            q = turn(q_TD[t, part], place, config["rope_theta"])[None]
            rate = torch.sigmoid(x_TD[t] @ p["learnable_ttt_lr_weight"][h, 0] + p["learnable_ttt_lr_bias"][h, 0])
            live = [w.detach().requires_grad_(True) if not w.requires_grad else w for w in anchor]
            error = layer_norm(inner(k, live), gain, bias) - (v_TD[t, part] - k)
            grads = torch.autograd.grad(0.5 * error.pow(2).sum(), live, create_graph=True)
            total = [s + config["ttt_base_lr"] * rate / d * g for s, g in zip(total, grads, strict=True)]
            row = (1 / (place + 1) + p["learnable_token_idx"][place]).clamp(min=0)
            now = [w - row * s for w, s in zip(anchor, total, strict=True)]
            rows.append(q + layer_norm(inner(q, now), gain, bias))
            if place == L - 1:
                anchor = now
        heads.append(torch.cat(rows))
    y_TD = layer_norm(torch.cat(heads, dim=1), p["post_norm.weight"], p["post_norm.bias"])
    if config["use_gate"]:
        y_TD = gelu(x_TD @ p["g_proj.weight"].T) * y_TD
    return y_TD @ p["o_proj.weight"].T


def logits(state: State, ids_T: Tensor, config: dict[str, Any]) -> Tensor:
    """``[T, V]`` of one sequence; ``state`` and ``config`` as the official code writes them."""
    eps = config["rms_norm_eps"]
    x = state["model.embed_tokens.weight"][ids_T]
    for i in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{i}."
        p = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
        block = {name.removeprefix("seq_modeling_block."): value for name, value in p.items()}
        if config["pre_conv"]:
            x = x + conv(rms(x, p["conv.norm.weight"], eps), p["conv.conv.weight"], p["conv.conv.bias"])
        x = x + mixer(block, rms(x, p["seq_norm.weight"], eps), config)
        n = rms(x, p["ffn_norm.weight"], eps)
        gate = n @ p["mlp.gate_proj.weight"].T
        x = x + (gate * torch.sigmoid(gate) * (n @ p["mlp.up_proj.weight"].T)) @ p["mlp.down_proj.weight"].T
    return rms(x, state["model.norm.weight"], eps) @ state["lm_head.weight"].T
