"""Start a training run or go on with one: from names (preset, corpus, tokenizer, id) to the trainer. Torch-free."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.data.corpus import Corpus
from fastweights.data.ids_tokenizer import IdsTokenizer
from fastweights.data.kv import KVConfig, kv_corpus
from fastweights.data.sources import Source, default_corpus, find_source
from fastweights.data.tokenizer import TRAINED, Tokenizer, load_tokenizer, open_tokenizer, train_tokenizer
from fastweights.errors import Conflict, FastweightsError, Unsupported
from fastweights.hints import near_miss, validate
from fastweights.models.e2e_config import E2EConfig
from fastweights.store.models import MANIFEST, Models, in_a_model
from fastweights.store.models import ckpt_dir as recorded_ckpt_dir
from fastweights.store.root import ID, MODELS, Store, check_id, new_id
from fastweights.train.config import TrainConfig, load_config
from fastweights.train.hooks import Hooks
from fastweights.train.meta_config import reach_of
from fastweights.train.plan import is_large, training_plan

if TYPE_CHECKING:
    from fastweights.train.checkpoint import Checkpoint
    from fastweights.train.distributed import World

DEFAULT_PRESET = "laptop"
SMALL_PRESET = "debug_tiny"
STRATEGIES = ("none", "fsdp", "fsdp2")
FREE = ("steps", "save_every", "log_every", "eval_every")  # what may differ in a resumed run


@dataclass(frozen=True)
class Where:
    """Where a run happens. ``strategy``: one of :data:`STRATEGIES`; ``large_cpu``: large models on a CPU, too."""

    device: str | None = None
    ckpt_dir: Path | None = None
    strategy: str | None = None
    large_cpu: bool = False

    def __post_init__(self) -> None:
        if self.strategy is not None and self.strategy not in STRATEGIES:
            raise Unsupported(
                f"strategy {self.strategy!r} is not supported{near_miss(self.strategy, STRATEGIES, listing=False)}; "
                "choose none (one process), fsdp (FullyShardedDataParallel) or fsdp2 (fully_shard)"
            )


def start(
    store: Store,
    preset: str | None,
    changes: Mapping[str, Any],
    *,
    model_id: str | None = None,
    where: Where | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """A new run of a preset (name or YAML file) with ``changes`` (``None``: not given; "optim.adam_lr" nests).

    Returns the figures of :func:`fastweights.train.loop.train`; of a preset that is only planned,
    :func:`fastweights.train.plan.training_plan`. The default corpus is ``training_data``, else tiny. A large model on a
    CPU becomes ``debug_tiny`` (of kind e2e: is only planned) unless ``where.large_cpu``. Under torchrun every process
    calls this.
    """
    where, hooks = where or Where(), hooks or Hooks()
    preset = preset or DEFAULT_PRESET
    config = load_config(preset, dict(changes))
    name = Path(preset).stem.lower()
    if config.plan_only:
        return training_plan(config, name, _processes())
    if model_id:
        Models(store).check_free(check_id("model", model_id))
    if is_large(config) and not where.large_cpu and _on_cpu(where.device):
        if config.kind == "e2e":
            hooks.notice(
                f"notice: preset {name} is too large to train on a CPU; --allow-large-cpu trains it all the same"
            )
            return training_plan(config, name, _processes())
        hooks.notice(
            f"notice: preset {name} is too large to train on a CPU, so {SMALL_PRESET} is trained instead; "
            "--allow-large-cpu trains it all the same"
        )
        preset = name = SMALL_PRESET
        config = load_config(preset, dict(changes))
    with _join(where.strategy or "none", where.device) as world:
        chosen = world.agree(lambda: model_id or new_id(name))
        corpus, notice = (config.corpus or "", None) if config.corpus or _task(config) else default_corpus()
        if notice:
            hooks.notice(notice)
        source = world.agree(lambda: _source(config, corpus, store))
        tokenizer = world.agree(lambda: _tokenizer(config, source))
        return _train(
            config, store, source, tokenizer, world, hooks, model_id=chosen, preset=name, ckpt_dir=where.ckpt_dir
        )


def resume(
    store: Store,
    which: str,
    changes: Mapping[str, Any],
    *,
    preset: str | None = None,
    corpus: str | None = None,
    model_id: str | None = None,
    where: Where | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """Go on from the last whole checkpoint of ``which`` (a model's id or a folder of checkpoints), with its own config.

    ``changes``: what is not in :data:`FREE` must be what the run has. ``corpus``: the same text at another place.
    ``preset``, ``model_id``: only to be checked. The strategy is the run's unless another is given, and so is the
    folder of the checkpoints. The number of processes may be another.
    """
    from fastweights.train.checkpoint import checkpoint_run, load_checkpoint
    from fastweights.train.places import find_ckpt_dir

    where, hooks = where or Where(), hooks or Hooks()
    folder = find_ckpt_dir(store, which)
    with _join(where.strategy or checkpoint_run(folder).get("strategy", "none"), where.device) as world:
        checkpoint = world.agree(lambda: load_checkpoint(folder))
        for notice in checkpoint.notices:
            hooks.notice(f"notice: {notice}")
        run = checkpoint.meta["run"]
        goes_on_as, own = world.agree(lambda: _goes_on_as(store, run["model_id"], which, folder, checkpoint.step))
        if goes_on_as != run["model_id"]:
            hooks.notice(
                f"notice: model {run['model_id']!r} of this store is past step {checkpoint.step} already, with its "
                f"checkpoints elsewhere; this copy goes on as model {goes_on_as!r}"
            )
        for name, value in (("preset", preset), ("model_id", model_id)):
            if value is not None and value != run[name]:
                raise FastweightsError(
                    f"--{name.replace('_', '-')} {value} cannot change in a resumed run, which has {run[name]}"
                )
        config = _config_again(run["config"], changes, which, hooks)
        path = corpus or run["corpus"]["path"]
        source = world.agree(lambda: _source(config, path, store))
        if source.sha256 != run["corpus"]["sha256"]:
            raise FastweightsError(
                f"corpus {source.name} is not the text that this run began with; name it with --corpus"
            )
        return _train(
            config,
            store,
            source,
            load_tokenizer(folder / "tokenizer.json"),
            world,
            hooks,
            model_id=goes_on_as,
            preset=run["preset"],
            ckpt_dir=where.ckpt_dir or own,
            resume=checkpoint,
        )


def _config_again(old: dict[str, Any], changes: Mapping[str, Any], which: str, hooks: Hooks) -> TrainConfig:
    """The run's own config with the ``changes`` that are free; its schedule keeps its length, however far it goes."""
    before = validate(TrainConfig, {**old, "schedule_steps": old["schedule_steps"] or old["steps"]}, f"resume {which}")
    given = {key: value for key, value in changes.items() if value is not None}
    for key, value in given.items():
        has = before.peak_lr if key == "lr" else getattr(before, key)
        if key not in FREE and value != has:
            flag = key.replace("_", "-")
            raise FastweightsError(
                f"--{flag} cannot change in a resumed run, which has {has}; leave it out, or start a new run"
            )
    free = {key: value for key, value in given.items() if key in FREE}
    config = validate(TrainConfig, {**before.model_dump(), **free}, f"resume {which}")
    length = config.schedule_steps or config.steps
    if config.steps > length and config.schedule != "constant":
        hooks.notice(
            f"notice: the learning-rate schedule ends at step {length}; "
            f"from there to step {config.steps} the rate is {config.peak_lr * config.final_lr:g}"
        )
    return config


def _goes_on_as(store: Store, model_id: str, which: str, source: Path, step: int) -> tuple[str, Path | None]:
    """The model that the checkpoints in ``source`` go on as, and where it keeps them, if not in its own folder: where
    the user put them, or ``source`` itself where the model is new in this store. A copy of its checkpoints takes
    their place unless the model is past them (at ``step``): then a new model goes on. ``Conflict`` if the checkpoints
    in ``source`` are not those of the model that was asked for, or are another store's of the same id.
    """
    asked = store.path(MODELS, which) if ID.fullmatch(which) else None
    if asked and which != model_id and (asked / MANIFEST).is_file():
        raise Conflict(f"resume {which}: the checkpoints in {source} belong to model {model_id!r}")
    folder = store.path(MODELS, check_id("model", model_id))
    if not (folder / MANIFEST).is_file():
        return model_id, None if in_a_model(source) else source
    manifest = Models(store).get(model_id)
    place = recorded_ckpt_dir(folder, manifest)
    if place.resolve() == source.resolve():
        return model_id, None if place == folder / "ckpt" else place
    if in_a_model(source):
        raise Conflict(
            f"resume {which}: this store has a model {model_id!r} already, with its checkpoints in {place}; "
            "go on in another store (--root)"
        )
    return (model_id, source) if step >= manifest["step"] else (new_id(model_id[:30].rstrip("-_")), None)


def _train(
    config: TrainConfig,
    store: Store,
    source: Source | Corpus,
    tokenizer: Tokenizer,
    world: "World",
    hooks: Hooks,
    *,
    ckpt_dir: Path | None,
    model_id: str,
    preset: str | None,
    resume: "Checkpoint | None" = None,
) -> dict[str, Any]:
    from fastweights.data.corpus import encode_source
    from fastweights.train.loop import train

    def opened() -> Corpus:
        return source if isinstance(source, Corpus) else encode_source(source, tokenizer, _cache(store))

    world.agree(lambda: opened() and None)  # the others find it in the cache
    return train(
        config,
        store,
        corpus=opened(),
        tokenizer=tokenizer,
        ckpt_dir=ckpt_dir.absolute() if ckpt_dir else None,
        hooks=hooks,
        world=world,
        model_id=model_id,
        preset=preset,
        resume=resume,
    )


def _task(config: TrainConfig) -> KVConfig | None:
    """The made-up task that takes the place of a corpus."""
    return config.meta.kv if config.meta else None


def _source(config: TrainConfig, corpus: str, store: Store) -> Source | Corpus:
    """Where the tokens come from: the corpus of that name, or the run's task."""
    if task := _task(config):
        model = config.model_for(task.vocab_size)
        assert isinstance(model, E2EConfig)
        return kv_corpus(task, reach_of(model), config.seed)
    return find_source(corpus, config.val_fraction, config.holdout, _cache(store))


def _tokenizer(config: TrainConfig, source: Source | Corpus) -> Tokenizer:
    if isinstance(source, Corpus):
        task = _task(config)
        assert task is not None
        return IdsTokenizer(task.vocab_size, task.bos, task.bos)
    if config.tokenizer not in TRAINED:
        return open_tokenizer(config.tokenizer)
    vocab = {"bpe_vocab": config.bpe_vocab, "spm_vocab": config.spm_vocab}
    return train_tokenizer(config.tokenizer, source.sample(), **vocab)


def _cache(store: Store) -> Path:
    return store.root / "cache"


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _on_cpu(device: str | None) -> bool:
    from fastweights.models.device import pick_device

    return pick_device(device).type == "cpu"


def _join(strategy: str, device: str | None) -> AbstractContextManager["World"]:
    from fastweights.train.distributed import join

    return join(strategy, device)
