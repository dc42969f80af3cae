"""What meta-learning of a TTT-E2E model adds to a training run: one frozen config. Torch-free."""

import math

from pydantic import BaseModel, ConfigDict, Field

from fastweights.data.kv import KVConfig, Reach
from fastweights.models.e2e_config import E2EConfig


class Easier(BaseModel):
    """The task of the first steps, smaller than the task itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: int = Field(ge=1, description="the step before which it counts")
    records: int = Field(ge=1)
    queries: int = Field(ge=1)
    far_frac: float = Field(ge=0, le=1)


class MetaConfig(BaseModel):
    """The outer loss is that of a text whose every chunk was read before it was learned.

    On text: the mean over all tokens. On ``kv``: the mean over the values that are asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    updates: bool = Field(default=True, description="off: nothing is learned while reading, as a baseline")
    first_order: bool = Field(default=False, description="take the inner gradient for a constant (FOMAML)")
    remat: bool = Field(default=False, description="compute each inner step again in the backward: less memory")
    plain: float = Field(
        default=0.0, ge=0, lt=1, description="first part of the schedule, plain pretraining: nothing is learned there"
    )
    inner_warmup: float = Field(
        default=0.1, ge=0, lt=1, description="next part of the schedule, in which the inner rate rises to its own"
    )
    kv: KVConfig | None = Field(default=None, description="the KV-retrieval task; none: the corpus")
    easier: tuple[Easier, ...] = Field(default=(), description="tasks of the first steps (kv), the nearest end first")
    eval_sequences: int = Field(default=32, ge=1, description="held-out sequences that a look reads (kv)")

    def check(self, model: E2EConfig, seq_len: int) -> None:
        """Raises ValueError where chunk, window, length and task do not fit one another."""
        chunk = model.inner.chunk
        if model.window < chunk:
            raise ValueError(
                f"model.window={model.window} is smaller than the chunk ({chunk}): in training what leaves the window "
                "must have been learned, so give a window of at least the chunk"
            )
        lengths = [("seq_len", seq_len)]
        if self.kv is not None:
            if seq_len != self.kv.tokens:
                raise ValueError(f"seq_len={seq_len}, but a sequence of meta.kv has {self.kv.tokens} tokens: give that")
            lengths += [("meta.easier: a length", self.task(stage.until - 1).tokens) for stage in self.easier]
        elif self.easier:
            raise ValueError("meta.easier is for meta.kv: leave it out")
        for name, length in lengths:
            if length % chunk:
                raise ValueError(
                    f"{name} of {length} is no multiple of model.inner.chunk={chunk}: the chunk divides it"
                )

    def task(self, step: int) -> KVConfig:
        """The task of a step (0 is the first); only with ``kv``."""
        assert self.kv is not None
        for stage in sorted(self.easier, key=lambda one: one.until):
            if step < stage.until:
                return KVConfig.model_validate({**self.kv.model_dump(), **stage.model_dump(exclude={"until"})})
        return self.kv

    def inner_factor(self, step: int, total: int) -> float:
        """Part of the inner rate in outer step ``step`` (0 is the first) of a schedule of ``total``; 0: plain."""
        warmup, step = self.inner_warmup * total, step - math.ceil(self.plain * total)
        if step < 0:
            return 0.0
        return min(1.0, (step + 1) / warmup) if warmup >= 1 else 1.0


def reach_of(model: E2EConfig) -> Reach:
    """What the model's attention sees."""
    return Reach(model.window, model.receptive_field)
