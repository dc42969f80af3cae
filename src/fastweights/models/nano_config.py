"""What a Nano model is, and how it learns. Torch-free."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.guard.regression_policy import NanoPolicy

Rule = Literal["rls", "muon", "sgd"]
RULES: tuple[Rule, ...] = ("rls", "muon", "sgd")
DEFAULT_RULE: Rule = "rls"
CHUNK = 32
MAX_RAW = 12.0  # |a_raw| up to here keeps every decay apart from 0 and 1 in fp32


_GRADIENT_FIELDS = {"lr", "momentum", "inner_steps", "replay"}
_RLS_FIELDS = {"forgetting", "prior", "spread"}


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NanoConfig(_Config):
    """Sizes of a NanoSSM, and how its input is scaled. The defaults are the model that is trained."""

    states: int = Field(default=32, ge=1, le=1024)
    mixed: int = Field(default=16, ge=1, le=1024, description="width between W_u and B")
    dt: float = Field(default=1.0, gt=0, le=100)
    vel_scale: float = Field(default=0.5, gt=0)
    slow_scale: float = Field(default=6.0, gt=0, description="of the velocity where it is small: v exp(-(|v| / s)^4)")
    slow_speed: float = Field(default=0.42, gt=0, description="that s")
    action_scale: float = Field(default=2.0, gt=0)


class NanoPretrain(_Config):
    """How a base model is made. The random force keeps it from reading the friction off exact residuals."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    worlds: int = Field(default=256, ge=1, le=65536)
    length: int = Field(default=384, ge=32, le=65536)
    noise: float = Field(default=0.5, ge=0, le=10)
    steps: int = Field(default=1500, ge=1, le=1_000_000)
    lr: float = Field(default=0.01, gt=0, le=1)


class NanoLearning(_Config):
    """How a Nano reader learns."""

    rule: Rule = DEFAULT_RULE
    lr: float | None = Field(
        default=None, gt=0, le=100, description="of muon and sgd; default: what their tuning found"
    )
    momentum: float = Field(default=0.95, ge=0, lt=1, description="of muon and sgd")
    inner_steps: int = Field(default=4, ge=1, le=64, description="of muon and sgd, each write")
    replay: int = Field(default=256, ge=32, le=8192, description="steps that muon and sgd look back on")
    forgetting: float = Field(default=0.999, gt=0, le=1, description="of rls, a step")
    prior: float = Field(default=10.0, gt=0, le=1e6, description="of rls: P_0, the most that P may be")
    spread: float | None = Field(
        default=0.001, gt=0, le=1e6, description="of rls: variance of the readout; null: noise is not estimated"
    )
    policy: NanoPolicy = NanoPolicy()

    @model_validator(mode="after")
    def _whole(self) -> "NanoLearning":
        if self.replay % CHUNK:
            raise ValueError(f"replay is {self.replay}: give a multiple of {CHUNK}, the steps between two writes")
        return self

    @property
    def idle(self) -> list[str]:
        """Fields that were given, and that the rule does not look at."""
        return sorted(self.model_fields_set & (_GRADIENT_FIELDS if self.rule == "rls" else _RLS_FIELDS))

    @property
    def rate(self) -> float:
        """The learning rate in use (of muon and sgd)."""
        return self.lr if self.lr is not None else DEFAULT_LR[self.rule]


DEFAULT_LR: dict[Rule, float] = {"muon": 0.001, "sgd": 0.01}
