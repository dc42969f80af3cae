"""What a TinyLM is made of: one frozen config, torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TinyLMConfig(BaseModel):
    """Sizes of embedding → backbone → norm → head."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tiny_lm"] = "tiny_lm"
    vocab_size: int = Field(ge=2, le=2**20)
    dim: int = Field(default=128, ge=8, le=4096, description="channels of the residual stream")
    layers: int = Field(default=4, ge=1, le=64)
    backbone: Literal["ssm", "gru"] = "ssm"
    conv_taps: int = Field(default=4, ge=1, le=16, description="length of the short causal convolution (ssm)")
    mlp_hidden: int | None = Field(default=None, ge=8, description="width of the MLP (ssm); none: 2 * dim")
    ngram_orders: tuple[int, ...] = Field(default=(), description="hashed embeddings of the last n tokens")
    ngram_rows: int = Field(default=2**18, ge=256, le=2**26, description="rows of the table that all orders share")
    ngram_width: int = Field(default=64, ge=1, le=4096, description="channels of a row")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of embedding and residual branches, in training")

    @model_validator(mode="after")
    def _orders(self) -> "TinyLMConfig":
        orders = self.ngram_orders
        if list(orders) != sorted(set(orders)) or any(not 2 <= n <= 16 for n in orders):
            raise ValueError(f"ngram_orders={orders}: give distinct orders from 2 to 16 in ascending order")
        return self
