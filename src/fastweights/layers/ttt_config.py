"""What one TTT layer is made of: one frozen config for the lab's variant and the official one. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TTTConfig(BaseModel):
    """Sizes and switches of a TTT layer.

    The defaults are the lab's ``ttt_linear``; :func:`official` gives those of the official code. The step of token j,
    as token i reads it, is ``row_i * col_j``;
    ``col_j = eta_base * sigmoid(theta x_j) * {2 / chunk | 1 / head_dim}``.
    The chunk is the *configured* one, also where the last chunk is partial and in online decoding, so a token's step
    never depends on how many others are read with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inner: Literal["linear", "mlp"] = "linear"
    dim: int = Field(default=128, ge=2, le=65536, description="channels of the residual stream")
    heads: int = Field(default=2, ge=1, le=1024)
    chunk: int = Field(default=16, ge=1, le=1024, description="tokens whose gradients are taken at one anchor (b)")
    expansion: int = Field(default=4, ge=1, le=16, description="hidden width of the inner MLP, in head widths")
    eta_base: float = Field(default=0.01, gt=0, le=100)
    row: Literal["one", "learned"] = Field(default="one", description="learned: 1 / i + a learned offset, at least 0")
    col: Literal["two_over_chunk", "one_over_width"] = "two_over_chunk"
    eta_per_head: bool = Field(default=True, description="false: one learned rate for all heads")
    strict: bool = Field(default=True, description="a token reads the steps before it; false: its own one too")
    bias: bool = Field(default=False, description="of the inner model")
    ln_affine: bool = Field(default=False, description="gain and bias of the inner LayerNorm, a pair for each head")
    post_norm: bool = Field(default=False, description="LayerNorm over all heads after the inner loop")
    gate: bool = Field(default=False, description="output times gelu(G x)")
    share_qk_conv: bool = Field(default=False, description="Q and K from one projection by two causal convolutions")
    pre_conv: bool = Field(default=False, description="a causal convolution as a residual branch before the block")
    conv_taps: int = Field(default=4, ge=1, le=16)
    rope_theta: float = Field(default=10000.0, gt=0)
    rope_mod_chunk: bool = Field(default=False, description="positions modulo the chunk")
    decode: Literal["anchored", "online"] = Field(
        default="online", description="online: each token steps at the current weights; anchored: equals the prefill"
    )
    norm_eps: float = Field(default=1e-6, gt=0)
    init_std: float = Field(default=0.02, gt=0)
    engine: Literal["handwritten", "autograd", "compiled"] = Field(
        default="handwritten", description="how the loop over chunks is differentiated; all give the same numbers"
    )

    @model_validator(mode="after")
    def _fits(self) -> "TTTConfig":
        if self.dim % self.heads or self.head_dim % 2:
            raise ValueError(f"dim={self.dim} over heads={self.heads}: give a dim that is heads times an even width")
        if self.decode == "online" and self.row != "one":
            raise ValueError(f"decode=online with row={self.row}: a row scales a chunk's sum; use decode=anchored")
        return self

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def col_scale(self) -> float:
        """What the sigmoid is multiplied by."""
        return self.eta_base * (2 / self.chunk if self.col == "two_over_chunk" else 1 / self.head_dim)


def official(**fields: object) -> TTTConfig:
    """The official variant (ttt-lm): its switches, with ``fields`` on top."""
    switches = {"row": "learned", "col": "one_over_width", "strict": False, "bias": True, "ln_affine": True}
    more = {"post_norm": True, "rope_mod_chunk": True, "decode": "anchored", "eta_base": 1.0}
    return TTTConfig.model_validate({**switches, **more, **fields})
