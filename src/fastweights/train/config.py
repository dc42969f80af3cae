"""What a training run is: a frozen config, and the YAML presets that ship with the package. Torch-free.

``steps`` says where a run stops; ``schedule_steps`` is the length of the learning-rate schedule (a preset's own steps,
unless it says otherwise) and is kept in the checkpoint, so that a run of 10 steps resumed for 10 more equals one of 20.
"""

import math
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from fastweights.data import tokenizer
from fastweights.errors import FastweightsError, NotFound
from fastweights.hints import near_miss, validate
from fastweights.models.e2e_config import E2EConfig
from fastweights.models.kinds import SIZES, ModelConfig, model_config
from fastweights.train.meta_config import MetaConfig


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimConfig(_Config):
    """Who updates what; the rates are the peaks of the schedule.

    ``muon`` (of a tiny_lm or e2e): Muon for the matrices of the blocks, row-sparse Adagrad for hashed tables, AdamW for
    the rest. ``adamw``: AdamW for all, decay on matrices only. ``auto``: muon for a tiny_lm, adamw for other kinds.
    """

    rule: Literal["auto", "muon", "adamw"] = "auto"
    lr: float = Field(default=0.02, gt=0, description="Muon, for the matrices of the backbone")
    momentum: float = Field(default=0.95, ge=0, lt=1)
    adam_lr: float = Field(default=0.003, gt=0, description="AdamW, for all that Muon does not update")
    adam_betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(default=0.0, ge=0)
    table_lr: float = Field(default=0.05, gt=0, description="sparse Adagrad, for hashed n-gram tables")


class TrainConfig(_Config):
    """One training run. Tokens a step = ``batch_size * seq_len * accumulate``, times the processes (torchrun)."""

    description: str = ""
    model: dict[str, Any] = Field(
        default_factory=dict,
        description="kind (tiny_lm) and its fields, less vocab_size; size: a ttt_lm's or e2e's to begin with",
    )
    optim: OptimConfig = OptimConfig()
    meta: MetaConfig | None = Field(
        default=None, description="meta-learning of an e2e model: through its inner steps; none: plain training"
    )

    corpus: str | None = Field(
        default=None, description="file, folder or named corpus; none: training_data/, else tiny"
    )
    tokenizer: str = Field(default="byte", description=tokenizer.NAMED)
    bpe_vocab: int = Field(default=4096, ge=258, le=65536)
    spm_vocab: int = Field(default=1024, ge=264, le=65536)
    val_fraction: float = Field(default=0.1, gt=0, lt=1, description="held out: this last part of the corpus' bytes")
    holdout: tuple[str, ...] = Field(
        default=(), description="globs of held-out files of a folder; replaces val_fraction"
    )

    reading: Literal["auto", "streams", "samples"] = Field(
        default="auto",
        description="streams: contiguous, their state carried; samples: each sequence by itself, from a fresh state; "
        "auto: streams for a tiny_lm, samples for other kinds",
    )
    seq_len: int = Field(default=128, ge=1, le=65536, description="tokens between two cuts of the gradient")
    batch_size: int = Field(default=16, ge=1, le=65536, description="streams or samples side by side, a process")
    accumulate: int = Field(default=1, ge=1, description="windows a step")
    steps: int = Field(default=1000, ge=1, le=10_000_000)
    schedule_steps: int | None = Field(default=None, ge=1, le=10_000_000, description="none: as steps")
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: int = Field(default=20, ge=0, description="steps of linear warm-up, at most the schedule's length")
    hold: float = Field(default=0.0, ge=0, le=1, description="part of the schedule after warm-up at the full rate")
    final_lr: float = Field(default=0.0, ge=0, le=1, description="last learning rate, as a part of the peak")

    clip: float | None = Field(default=1.0, gt=0, description="clip the global gradient norm; none: never")
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="bf16: autocast; weights and optimiser stay fp32"
    )
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="keep an average of the weights, which is then the model"
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; FASTWEIGHTS_THREADS goes before it")
    seed: int = Field(default=0, ge=0, lt=2**31)

    log_every: int = Field(default=10, ge=1)
    eval_every: int = Field(default=250, ge=1, description="steps between two looks at the held-out text")
    eval_tokens: int = Field(
        default=16384, ge=1, description="held-out tokens a look reads; the last look reads them all"
    )
    save_every: int = Field(default=500, ge=1, description="steps between two checkpoints")
    plan_only: bool = Field(default=False, description="never trained here: what it would take is printed")

    @model_validator(mode="after")
    def _coherent(self) -> "TrainConfig":
        if "vocab_size" in self.model:
            raise ValueError("model.vocab_size is the tokenizer's business; leave it out")
        model = self.model_for(258)
        if self.meta is not None:
            if not isinstance(model, E2EConfig):
                raise ValueError(f"meta is for models of kind e2e, not {self.kind}: leave it out")
            if self.meta.kv is not None and self.corpus is not None:
                raise ValueError("corpus is for text, and meta.kv makes its own: leave one out")
            self.meta.check(model, self.seq_len)
        return self

    def model_for(self, vocab_size: int) -> ModelConfig:
        """The model's config with the tokenizer's vocabulary."""
        fields = {**self.model, "vocab_size": vocab_size}
        if (size := fields.pop("size", None)) is not None:
            if size not in SIZES:
                raise ValueError(f"model.size {size!r} does not exist{near_miss(str(size), SIZES)}")
            fields = {**SIZES[size].model_dump(exclude={"vocab_size"}), **fields}
        return model_config(fields)

    @property
    def kind(self) -> str:
        size = SIZES.get(self.model.get("size", ""))
        return self.model.get("kind", size.kind if size else "tiny_lm")

    @property
    def samples(self) -> bool:
        """Whether every sequence starts from a fresh state (see ``reading``)."""
        return self.kind != "tiny_lm" if self.reading == "auto" else self.reading == "samples"

    @property
    def muon(self) -> bool:
        """Whether Muon updates the backbone's matrices (see :class:`OptimConfig`)."""
        return self.kind == "tiny_lm" if self.optim.rule == "auto" else self.optim.rule == "muon"

    @property
    def peak_lr(self) -> float:
        """Of the matrices."""
        return self.optim.lr if self.muon else self.optim.adam_lr

    def lr_factor(self, step: int) -> float:
        """Factor in [0, 1] on every peak rate for step ``step`` (0 is the first)."""
        total = self.schedule_steps or self.steps
        warmup = min(self.warmup, total)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.schedule == "constant":
            return 1.0
        start = warmup + self.hold * (total - warmup)
        part = 1.0 if step >= total else max((step - start) / max(total - start, 1e-9), 0.0)
        shape = 1.0 - part if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * part))
        return self.final_lr + (1.0 - self.final_lr) * shape


def presets() -> dict[str, Path]:
    """Name -> YAML file of every shipped training preset."""
    folder = Path(str(resources.files("fastweights.presets")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_config(name_or_path: str, overrides: dict[str, Any] | None = None) -> TrainConfig:
    """A preset by name, or a YAML file by path, with ``overrides`` (``None`` values are ignored; dots nest).

    The schedule is as long as the file says (``schedule_steps``, else ``steps``), whatever ``steps`` is overridden
    with; a longer run stretches it, unless ``schedule_steps`` is overridden too. ``lr`` is the peak rate of the
    matrices. Raises ``NotFound`` for an unknown
    preset (names the near miss), ``FastweightsError`` for a bad file or key.
    """
    shipped = presets()
    is_path = name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path
    path = Path(name_or_path) if is_path else shipped.get(name_or_path)
    if path is None or not path.is_file():
        what = "config" if is_path else "preset"
        raise NotFound(f"{what} '{name_or_path}' does not exist{near_miss(name_or_path, shipped)}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FastweightsError(f"config {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise FastweightsError(f"config {path}: a mapping is wanted, not {type(data).__name__}")
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    if "lr" in given:  # of the matrices, whoever updates them
        own = validate(TrainConfig, data, str(path))
        given["optim.lr" if own.muon else "optim.adam_lr"] = given.pop("lr")
    if "corpus" in given and given["corpus"] != data.get("corpus") and "holdout" not in given:
        data.pop("holdout", None)  # names of another corpus' files
    source = f"config {path.name if is_path else name_or_path}"
    if "steps" in given and "schedule_steps" not in given:
        own = validate(TrainConfig, data, source)
        data["schedule_steps"] = max(own.schedule_steps or own.steps, given["steps"])
    for key, value in given.items():
        target = data
        *parents, last = key.split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
    return validate(TrainConfig, data, source)
