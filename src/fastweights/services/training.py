"""Start a training run or go on with one: from names (preset, corpus, tokenizer, id) to the trainer. Torch-free."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastweights.data.sources import Source, default_corpus, find_source
from fastweights.data.tokenizer import ByteTokenizer, Tokenizer, load_tokenizer
from fastweights.errors import Conflict, FastweightsError
from fastweights.hints import validate
from fastweights.store.models import MANIFEST, Models
from fastweights.store.models import ckpt_dir as recorded_ckpt_dir
from fastweights.store.root import ID, MODELS, Store, check_id, new_id
from fastweights.train.config import TrainConfig, load_config
from fastweights.train.hooks import Hooks

DEFAULT_PRESET = "laptop"
FREE = ("steps", "save_every")  # what may differ in a resumed run


def start(
    store: Store,
    preset: str | None,
    changes: Mapping[str, Any],
    *,
    model_id: str | None = None,
    device: str | None = None,
    ckpt_dir: Path | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """A new run of a preset (name or YAML file) with ``changes`` (``None``: not given; "optim.lr" nests).

    Returns the figures of :func:`fastweights.train.loop.train`. The default corpus is ``training_data``, else tiny.
    """
    hooks = hooks or Hooks()
    preset = preset or DEFAULT_PRESET
    config = load_config(preset, dict(changes))
    name = Path(preset).stem.lower()
    model_id = check_id("model", model_id) if model_id else new_id(name)
    Models(store).check_free(model_id)
    corpus, notice = (config.corpus, None) if config.corpus else default_corpus()
    if notice:
        hooks.notice(notice)
    source = find_source(corpus, config.val_fraction, config.holdout)
    tokenizer = _tokenizer(config, source)
    return _train(config, store, source, tokenizer, device, hooks, model_id=model_id, preset=name, ckpt_dir=ckpt_dir)


def resume(
    store: Store,
    which: str,
    changes: Mapping[str, Any],
    *,
    preset: str | None = None,
    corpus: str | None = None,
    device: str | None = None,
    ckpt_dir: Path | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """Go on from the last whole checkpoint of ``which`` (a model's id or a folder of checkpoints), with its own config.

    ``changes``: of :data:`FREE` only. ``corpus``: the same text at another place. ``preset``: only to be checked.
    Checkpoints go where this store's model keeps its own (``ckpt_dir`` changes that), wherever they were read.
    """
    from fastweights.train.checkpoint import load_checkpoint
    from fastweights.train.loop import find_ckpt_dir

    hooks = hooks or Hooks()
    given = {key: value for key, value in changes.items() if value is not None}
    fixed = next((key for key in given if key not in FREE), None)
    if fixed is not None:
        flag = fixed.removeprefix("optim.").replace("_", "-")
        raise FastweightsError(f"--{flag} cannot change in a resumed run; leave it out, or start a new run")
    folder = find_ckpt_dir(store, which)
    checkpoint = load_checkpoint(folder)
    for notice in checkpoint.notices:
        hooks.notice(f"notice: {notice}")
    run = checkpoint.meta["run"]
    own = _own_ckpt_dir(store, run["model_id"], which, folder)
    if preset is not None and preset != run["preset"]:
        raise FastweightsError(f"--preset {preset} cannot change in a resumed run, which has {run['preset']}")
    old = run["config"]
    schedule = {"schedule_steps": old["schedule_steps"] or old["steps"]}  # keeps its length, however far the run goes
    config = validate(TrainConfig, {**old, **schedule, **given}, f"resume {which}")
    length = config.schedule_steps or config.steps
    if config.steps > length and config.schedule != "constant":
        rest = config.optim.lr * config.final_lr
        hooks.notice(
            f"notice: the learning-rate schedule ends at step {length}; "
            f"from there to step {config.steps} the rate is {rest:g}"
        )
    source = find_source(corpus or run["corpus"]["path"], config.val_fraction, config.holdout)
    if source.sha256 != run["corpus"]["sha256"]:
        raise FastweightsError(f"corpus {source.name} is not the text that this run began with; name it with --corpus")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    return _train(
        config,
        store,
        source,
        tokenizer,
        device,
        hooks,
        model_id=run["model_id"],
        preset=run["preset"],
        ckpt_dir=ckpt_dir or own,
        resume=checkpoint,
    )


def _own_ckpt_dir(store: Store, model_id: str, which: str, source: Path) -> Path | None:
    """The folder that the user gave this store's model for its checkpoints; ``None``: that in the model's folder.

    ``Conflict`` if the checkpoints in ``source`` are not those of the model that was asked for, or that has this id.
    """
    asked = store.path(MODELS, which) if ID.fullmatch(which) else None
    if asked and which != model_id and (asked / MANIFEST).is_file():
        raise Conflict(f"resume {which}: the checkpoints in {source} belong to model {model_id!r}")
    folder = store.path(MODELS, check_id("model", model_id))
    if not (folder / MANIFEST).is_file():
        return None
    place = recorded_ckpt_dir(folder, Models(store).get(model_id))
    if place.resolve() != source.resolve():
        raise Conflict(
            f"resume {which}: this store has a model {model_id!r} already, with its checkpoints in {place}; "
            "go on in another store (--root)"
        )
    return None if place == folder / "ckpt" else place


def _train(
    config: TrainConfig,
    store: Store,
    source: Source,
    tokenizer: Tokenizer,
    device: str | None,
    hooks: Hooks,
    *,
    ckpt_dir: Path | None,
    **rest: Any,
) -> dict[str, Any]:
    from fastweights.data.corpus import encode_source
    from fastweights.models.device import pick_device
    from fastweights.train.loop import train

    return train(
        config,
        store,
        corpus=encode_source(source, tokenizer, store.root / "cache"),
        tokenizer=tokenizer,
        device=str(pick_device(device)),
        ckpt_dir=ckpt_dir.absolute() if ckpt_dir else None,
        hooks=hooks,
        **rest,
    )


def _tokenizer(config: TrainConfig, source: Source) -> Tokenizer:
    if config.tokenizer == "byte":
        return ByteTokenizer()
    if config.tokenizer == "bpe":
        from fastweights.data.bpe import BPETokenizer

        return BPETokenizer.train(source.sample(), config.bpe_vocab)
    return load_tokenizer(config.tokenizer)
