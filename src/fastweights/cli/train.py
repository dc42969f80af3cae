"""``fastweights train``: offline training of a model, or going on with one that was stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from fastweights.cli import output

if TYPE_CHECKING:
    from fastweights.data.tokenizer import Tokenizer
    from fastweights.store.root import Store
    from fastweights.train.config import TrainConfig

app = App(name="train", help="Train a model on text. Nothing leaves the store's folder.")


@app.default
def train(
    *,
    preset: Annotated[str | None, Parameter(alias="--config")] = None,
    corpus: str | None = None,
    tokenizer: str | None = None,
    steps: int | None = None,
    schedule_steps: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    seed: int | None = None,
    resume: str | None = None,
    ckpt_dir: Path | None = None,
    model_id: str | None = None,
    save_every: int | None = None,
    seq_len: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
) -> None:
    """Train a model on text, or go on with a run that was stopped (SIGINT and SIGTERM leave a checkpoint).

    CPU threads: 1 below 20 million parameters, else all cores; a preset's 'threads' or the environment's
    FASTWEIGHTS_THREADS set another number.

    Parameters
    ----------
    preset
        Name of a shipped preset, or a YAML file (default: laptop).
    corpus
        File, folder of *.txt *.md *.text *.tex *.rst, or tiny, shakespeare. Default: ./training_data, else tiny.
    tokenizer
        byte, bpe (trained on the train part of the corpus), or a saved tokenizer.json.
    steps
        Step to stop at.
    schedule_steps
        Length of the learning-rate schedule, if the run will go on beyond --steps later.
    device
        auto takes cuda, else mps, else cpu (default: the environment's TEXT_LM_DEVICE, else auto).
    seed
        Of the first weights and of the windows.
    resume
        Go on with a model's last checkpoint: its id, or a folder of checkpoints. Its own config counts; of the other
        options only --steps, --device, --save-every and --corpus (the same text at another place) may be given.
    ckpt_dir
        Keep checkpoints here rather than in the model's folder.
    model_id
        Id of the new model (a-z, 0-9, - and _).
    save_every
        Steps between two checkpoints.
    seq_len
        Tokens between two cuts of the gradient.
    batch_size
        Streams that are read side by side.
    lr
        Peak learning rate of the matrices.
    """
    from fastweights.train.config import load_config

    given = {
        "tokenizer": tokenizer,
        "schedule_steps": schedule_steps,
        "seed": seed,
        "seq_len": seq_len,
        "batch_size": batch_size,
        "optim.lr": lr,
    }
    free = {"steps": steps, "save_every": save_every}
    store = output.current().store()
    if resume is not None:
        clash = next((key for key, value in {**given, "model_id": model_id}.items() if value is not None), None)
        if clash is not None:
            raise output.UsageError(f"--{clash.replace('_', '-').replace('optim.', '')} cannot change in a resumed run")
        result = _resume(store, resume, free, corpus, device, ckpt_dir, preset)
    else:
        name = preset or "laptop"
        config = load_config(name, {**given, **free, "corpus": corpus})
        result = _start(store, config, Path(name).stem.lower(), model_id, device, ckpt_dir)
    output.current().emit(result, lambda: _summary(result))
    if result["status"] != "ready":
        raise output.Exit(output.TERMINATED if result["reason"] == "SIGTERM" else output.INTERRUPTED)


def _start(
    store: "Store", config: "TrainConfig", preset: str, model_id: str | None, device: str | None, ckpt_dir: Path | None
) -> dict[str, Any]:
    from fastweights.data.corpus import encode_source
    from fastweights.data.sources import default_corpus, find_source
    from fastweights.store.root import check_id, new_id

    name, notice = (config.corpus, None) if config.corpus else default_corpus()
    if notice:
        output.current().notice(notice)
    model_id = check_id("model", model_id) if model_id else new_id(preset)
    source = find_source(name, config.val_fraction, config.holdout)
    tokenizer = _tokenizer(config, source)
    return _run(
        config,
        store,
        device,
        model_id=model_id,
        corpus=encode_source(source, tokenizer, store.root / "cache"),
        tokenizer=tokenizer,
        preset=preset,
        ckpt_dir=ckpt_dir.absolute() if ckpt_dir else None,
    )


def _resume(
    store: "Store",
    resume: str,
    changes: dict[str, Any],
    corpus: str | None,
    device: str | None,
    ckpt_dir: Path | None,
    preset: str | None,
) -> dict[str, Any]:
    from fastweights.data.corpus import encode_source
    from fastweights.data.sources import find_source
    from fastweights.data.tokenizer import load_tokenizer
    from fastweights.hints import validate
    from fastweights.train.checkpoint import load_checkpoint
    from fastweights.train.config import TrainConfig
    from fastweights.train.loop import find_ckpt_dir

    folder = find_ckpt_dir(store, resume)
    checkpoint = load_checkpoint(folder)
    for notice in checkpoint.notices:
        output.current().notice(f"notice: {notice}")
    run = checkpoint.meta["run"]
    if preset is not None and preset != run["preset"]:
        raise output.UsageError(f"--preset {preset} cannot change in a resumed run, which has preset {run['preset']}")
    old = run["config"]
    new = {key: value for key, value in changes.items() if value is not None}
    frozen = {"schedule_steps": old["schedule_steps"] or old["steps"]}  # the schedule keeps its length
    config = validate(TrainConfig, {**old, **frozen, **new}, f"resume {resume}")
    source = find_source(corpus or run["corpus"]["path"], config.val_fraction, tuple(config.holdout))
    if source.sha256 != run["corpus"]["sha256"]:
        raise output.UsageError(f"corpus {source.name} is not the text that this run began with; name it with --corpus")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    return _run(
        config,
        store,
        device,
        model_id=run["model_id"],
        corpus=encode_source(source, tokenizer, store.root / "cache"),
        tokenizer=tokenizer,
        preset=run["preset"],
        ckpt_dir=ckpt_dir.absolute() if ckpt_dir else folder,
        resume=checkpoint,
    )


def _tokenizer(config: "TrainConfig", source: Any) -> "Tokenizer":
    from fastweights.data.tokenizer import ByteTokenizer, load_tokenizer

    if config.tokenizer == "byte":
        return ByteTokenizer()
    if config.tokenizer == "bpe":
        from fastweights.data.bpe import BPETokenizer

        return BPETokenizer.train(source.sample(), config.bpe_vocab)
    return load_tokenizer(config.tokenizer)


def _run(config: "TrainConfig", store: "Store", device: str | None, **rest: Any) -> dict[str, Any]:
    """The run with signals, progress and log lines around it."""
    from fastweights.cli.progress import Progress, catch_signals
    from fastweights.models.device import pick_device
    from fastweights.train.loop import Hooks, train

    shared = output.current()
    with catch_signals() as caught, Progress(shared, rest["model_id"], config.steps) as progress:
        hooks = Hooks(point=progress.point, step=progress.step, stop=caught, notice=shared.notice)
        result = train(config, store, device=str(pick_device(device)), hooks=hooks, **rest)
        return {**result, "reason": caught()}


def _summary(result: dict[str, Any]) -> str:
    if result["status"] != "ready":
        return ""
    return (
        f"{result['model_id']}: step {result['step']}, held-out {result['val_bpb']:.4f} bits per byte, "
        f"{result['cpu_seconds']:.1f} CPU seconds; {result['folder']}"
    )
