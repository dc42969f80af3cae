"""What a TTT language model is made of: one frozen config, torch-free; presets, and what each would cost."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.layers.ttt_config import TTTConfig, official


class AttentionConfig(BaseModel):
    """Window attention, for a model to compare with; width, heads and rotations are the mixer's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window: int = Field(default=128, ge=1, le=65536, description="tokens that a token sees, itself included")
    qk_norm: bool = Field(default=False, description="RMSNorm of queries and keys")


class TTTLMConfig(BaseModel):
    """Embedding → blocks of (TTT layer or window attention, SwiGLU) → norm → head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ttt_lm"] = "ttt_lm"
    vocab_size: int = Field(ge=2, le=1_000_000)
    layers: int = Field(default=4, ge=1, le=256)
    mixer: TTTConfig = TTTConfig()
    attention: AttentionConfig | None = Field(
        default=None, description="window attention in place of the TTT layers; none: TTT"
    )
    mlp_hidden: int | None = Field(default=None, ge=2, description="of the SwiGLU; none: 8 / 3 dim")
    norm_eps: float = Field(default=1e-6, gt=0, description="of the RMSNorms")
    tie_head: bool = Field(default=True, description="the head's matrix is the embedding's")
    checkpoint_n_chunks: int = Field(
        default=0,
        ge=0,
        description="training keeps only the states every so many chunks and recomputes the rest; 0: off",
    )

    @model_validator(mode="after")
    def _fits(self) -> "TTTLMConfig":
        if self.attention is not None and (self.mixer.pre_conv or self.mixer.rope_mod_chunk):
            raise ValueError("attention takes neither mixer.pre_conv nor mixer.rope_mod_chunk: leave them out")
        return self

    @property
    def dim(self) -> int:
        """Channels of the residual stream."""
        return self.mixer.dim

    @property
    def hidden(self) -> int:
        """Width of the SwiGLU."""
        return self.mlp_hidden or -(-8 * self.dim // 96) * 32


def _preset(vocab: int, layers: int, dim: int, heads: int, hidden: int, **mixer: object) -> TTTLMConfig:
    shape = TTTConfig.model_validate({"dim": dim, "heads": heads, **mixer})
    return TTTLMConfig(vocab_size=vocab, layers=layers, mixer=shape, mlp_hidden=hidden)


def _official(vocab: int, layers: int, dim: int, heads: int, hidden: int, **mixer: object) -> TTTLMConfig:
    return TTTLMConfig(
        vocab_size=vocab, layers=layers, mixer=official(dim=dim, heads=heads, **mixer), mlp_hidden=hidden
    )


_SIZES = {
    "125m": (12, 768, 12, 2048),
    "350m": (24, 1024, 16, 2736),
    "760m": (24, 1536, 16, 4096),
    "1p3b": (24, 2048, 32, 5504),
}

PRESETS: dict[str, TTTLMConfig] = {
    "debug_tiny": _preset(512, 2, 128, 4, 352),
    "ttt_125m": _preset(32000, *_SIZES["125m"]),
    "bringup_1p3b": _preset(32000, *_SIZES["1p3b"]),
    "ttt_47b": _preset(32000, 64, 8192, 64, 18944),
    **{f"ttt_linear_official_{size}": _official(32000, *shape) for size, shape in _SIZES.items()},
    **{
        f"ttt_mlp_official_{size}": _official(32000, *shape, inner="mlp", eta_base=0.1)
        for size, shape in _SIZES.items()
    },
}
"""By name; the vocabulary is the tokenizer's in training."""

PLAN_ONLY = frozenset({"ttt_47b"})
"""Presets that are costed, never built."""


def parameters(config: TTTLMConfig) -> int:
    """How many a model of this config has, without making it."""
    m, D = config.mixer, config.dim
    widths = (
        [(m.head_dim, m.head_dim)]
        if m.inner == "linear"
        else [
            (m.head_dim, m.expansion * m.head_dim),
            (m.expansion * m.head_dim, m.head_dim),
        ]
    )
    fast = m.heads * sum(width * out + (out if m.bias else 0) for width, out in widths)
    conv = D * m.conv_taps + D
    mixer = fast + D * D * (4 - m.share_qk_conv + m.gate) + (m.heads if m.eta_per_head else 1) * (D + 1)
    mixer += (m.chunk if m.row == "learned" else 0) + 2 * D * (m.ln_affine + m.post_norm) + 2 * conv * m.share_qk_conv
    if config.attention is not None:
        mixer = 4 * D * D + 2 * m.head_dim * config.attention.qk_norm
    block = mixer + 3 * D * config.hidden + 2 * D + (conv + D) * m.pre_conv
    return config.layers * block + D + config.vocab_size * D * (1 if config.tie_head else 2)


def inner_flops(config: TTTLMConfig) -> float:
    """FLOPs a token of all inner loops, forward: ``6 d² + 4 b d`` a head (the MLP: for each of its fast layers).

    Of window attention: ``4 window d`` a head.
    """
    m = config.mixer
    if config.attention is not None:
        return config.layers * 4 * config.attention.window * config.dim
    factor = 1 if m.inner == "linear" else 2 * m.expansion
    return config.layers * m.heads * factor * (6 * m.head_dim**2 + 4 * m.chunk * m.head_dim)


def plan(config: TTTLMConfig, *, ranks: int = 1, batch: int = 1, tokens: int = 2048) -> dict[str, float]:
    """What training would take, by arithmetic: parameters, FLOPs a token, bytes a rank (``batch`` is per rank).

    Weights, gradients and Adam's two moments in fp32, sharded over ``ranks``; activations with checkpoints through time
    at sqrt(tokens / chunk) chunks. FLOPs: 6 a matrix weight, and the inner loop's (forward 6 d² + 4 b d a head; 3 times
    that with the backward).
    """
    m, n = config.mixer, parameters(config)
    matrices = n - config.vocab_size * config.dim * (1 if config.tie_head else 2) + config.vocab_size * config.dim
    factor = 1 if m.inner == "linear" else 2 * m.expansion
    inner = inner_flops(config)
    segment = max(1, round((tokens / m.chunk) ** 0.5))
    state = 4 * config.layers * m.heads * m.head_dim**2 * factor
    if config.attention is not None:
        state = 4 * config.layers * 2 * config.attention.window * config.dim
    boundaries = batch * state * -(-tokens // (segment * m.chunk))
    rows = 4 * batch * segment * m.chunk * config.layers * (16 * config.dim + 4 * config.hidden)
    inside = batch * segment * state * 2
    return {
        "parameters": n,
        "ranks": ranks,
        "flops_per_token": 6 * matrices + 3 * inner,
        "flops_per_step": (6 * matrices + 3 * inner) * batch * tokens * ranks,
        "bytes_weights_and_optimizer_per_rank": 16 * n / ranks,
        "bytes_activations_per_rank": boundaries + rows + inside,
        "bytes_per_rank": 16 * n / ranks + boundaries + rows + inside,
    }
