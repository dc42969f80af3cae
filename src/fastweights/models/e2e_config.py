"""What a TTT-E2E transformer is made of: one frozen config, torch-free; presets, and what each would cost."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class InnerConfig(BaseModel):
    """How the model learns as it reads: SGD on the next-token loss of every ``chunk`` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: int = Field(default=1024, ge=1, le=1 << 20, description="tokens that are read before each step")
    ttt_param_filter: str = Field(
        default="suffix_blocks.*.feed_forward_prime.*",
        min_length=1,
        description="parameters that learn: globs, comma-separated; a word without *?[ stands for *word*",
    )
    lr: float = Field(default=1.0, gt=0, description="rate of the inner steps; of learned rates, where they start")
    learned_rates: bool = Field(default=False, description="one rate a tensor, learned in the outer loop")
    clip: float | None = Field(default=1.0, gt=0, description="of each sequence's inner gradient (norm); none: never")

    def patterns(self) -> list[str]:
        """The globs of ``ttt_param_filter``."""
        words = [word.strip() for word in self.ttt_param_filter.split(",")]
        return [word if any(c in word for c in "*?[") else f"*{word}*" for word in words if word]


class E2EConfig(BaseModel):
    """Embedding → prefix blocks → suffix blocks, which have a second SwiGLU before their own → norm → head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["e2e"] = "e2e"
    vocab_size: int = Field(ge=2, le=1_000_000)
    dim: int = Field(default=128, ge=8, le=16384, description="channels of the residual stream")
    heads: int = Field(default=4, ge=1, le=256)
    layers: int = Field(default=4, ge=1, le=256, description="of prefix and suffix together")
    suffix_layers: int = Field(default=1, ge=1, le=256, description="last blocks, which hold the fast weights")
    window: int = Field(default=1024, ge=1, le=1 << 20, description="tokens that a token sees in a layer, with itself")
    mlp_hidden: int | None = Field(default=None, ge=2, description="of the static SwiGLU; none: 8 / 3 dim")
    prime_hidden: int | None = Field(default=None, ge=2, description="of the second SwiGLU; none: as mlp_hidden")
    qk_norm: bool = Field(default=True, description="RMSNorm of queries and keys")
    qk_bias: float = Field(default=0.0, ge=0, description="learned biases of queries and keys, times this; 0: none")
    rope_theta: float = Field(default=10000.0, gt=0)
    norm_eps: float = Field(default=1e-6, gt=0, description="of the RMSNorms")
    init_std: float = Field(default=0.02, gt=0)
    embedding_std: float | None = Field(default=None, gt=0, description="of the embedding; none: as init_std")
    inner: InnerConfig = InnerConfig()

    @model_validator(mode="after")
    def _fits(self) -> "E2EConfig":
        if self.dim % self.heads or self.dim // self.heads % 2:
            raise ValueError(f"heads={self.heads} of dim={self.dim}: give heads of an even width")
        if self.suffix_layers > self.layers:
            raise ValueError(f"suffix_layers={self.suffix_layers} of layers={self.layers}: at most all of them")
        return self

    @property
    def prefix_layers(self) -> int:
        return self.layers - self.suffix_layers

    @property
    def hidden(self) -> int:
        """Width of the static SwiGLUs."""
        return self.mlp_hidden or -(-8 * self.dim // 96) * 32

    @property
    def prime(self) -> int:
        """Width of the second SwiGLUs."""
        return self.prime_hidden or self.hidden

    @property
    def receptive_field(self) -> int:
        """Tokens, itself included, that a token sees through all layers while nothing is learned."""
        return self.layers * (self.window - 1) + 1


def _size(layers: int, dim: int, heads: int) -> E2EConfig:
    """A quarter of the blocks are suffix; window 8192 and chunk 1024 as in the paper's experiments."""
    return E2EConfig(
        vocab_size=32000,
        dim=dim,
        heads=heads,
        layers=layers,
        suffix_layers=layers // 4,
        window=8192,
        inner=InnerConfig(),
    )


PRESETS: dict[str, E2EConfig] = {
    "e2e_125m": _size(12, 768, 12),
    "e2e_350m": _size(24, 1024, 16),
    "e2e_760m": _size(24, 1536, 16),
    "e2e_1b": _size(24, 2048, 32),
    "e2e_3b": _size(32, 2560, 32),
}
"""By name; the vocabulary is the tokenizer's in training. Layers as in arXiv 2512.23675, widths as in GPT-3's."""


def parameters(config: E2EConfig) -> int:
    """How many a model of the default filter and fixed rates has, without making it."""
    D, width = config.dim, config.dim // config.heads
    block = 4 * D * D + 2 * width * config.qk_norm + 3 * D * config.hidden + 2 * D
    block += 2 * D * (config.qk_bias > 0)
    prime = 3 * D * config.prime + D
    return config.layers * block + config.suffix_layers * prime + D + 2 * config.vocab_size * D


def plan(
    config: E2EConfig, *, ranks: int = 1, batch: int = 1, tokens: int = 8192, meta: bool = True
) -> dict[str, float]:
    """What training would take, by arithmetic: parameters, FLOPs a token, bytes a rank (``batch`` is per rank).

    FLOPs: 6 a matrix weight and token; with ``meta``, 12 more for what the inner gradient goes through (suffix, head:
    its own backward, and the backward of that). Attention: 12 window dim a layer. Bytes: weights, gradients and Adam's
    moments in fp32, sharded; fast weights of each sequence at each chunk's border, and one chunk's activations.
    """
    D, n, steps = config.dim, parameters(config), -(-tokens // config.inner.chunk)
    block = 4 * D * D + 3 * D * config.hidden
    prime = config.suffix_layers * 3 * D * config.prime
    inner = config.suffix_layers * block + prime + config.vocab_size * D
    matrices = config.layers * block + prime + config.vocab_size * D
    attention = 12 * min(config.window, tokens) * D * config.layers
    flops = 6 * matrices + attention + (12 * inner if meta else 0)
    rows = 4 * batch * config.layers * (12 * D + 4 * config.hidden)
    kept = rows * (config.inner.chunk if meta else tokens) + 4 * batch * tokens * D
    borders = 4 * batch * prime * steps if meta else 0
    state = 16 * n / ranks
    return {
        "parameters": n,
        "ranks": ranks,
        "flops_per_token": flops,
        "flops_per_step": flops * batch * tokens * ranks,
        "bytes_weights_and_optimizer_per_rank": state,
        "bytes_activations_per_rank": kept + borders,
        "bytes_per_rank": state + kept + borders,
    }
