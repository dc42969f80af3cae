"""``fastweights train``: offline training of a model, or going on with one that was stopped."""

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from fastweights.cli import output

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
        laptop, bench-shakespeare or starter, which ship, or a YAML file (default: laptop).
    corpus
        File, folder of *.txt *.md *.text *.tex *.rst, or tiny, shakespeare. Default: ./training_data, else tiny.
    tokenizer
        byte, bpe (trained on the train part of the corpus), or a saved tokenizer.json.
    steps
        Step to stop at.
    schedule_steps
        Length of the learning-rate schedule (default: the preset's steps, or --steps if that is longer).
    device
        auto takes cuda, else mps, else cpu (default: the environment's TEXT_LM_DEVICE, else auto).
    seed
        Of the first weights and of the windows.
    resume
        Go on with a model's last checkpoint: its id, or a folder of checkpoints. Its own config counts; of the other
        options only --steps, --device, --save-every and --corpus (the same text at another place) may be given.
    ckpt_dir
        Keep checkpoints here rather than in the model's folder; a folder for this model alone.
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
    from fastweights.cli.progress import Progress, catch_signals
    from fastweights.services import training
    from fastweights.train.hooks import Hooks

    changes = {
        "steps": steps,
        "save_every": save_every,
        "tokenizer": tokenizer,
        "schedule_steps": schedule_steps,
        "seed": seed,
        "seq_len": seq_len,
        "batch_size": batch_size,
        "optim.lr": lr,
    }
    shared = output.current()
    store = shared.store()
    with catch_signals(shared) as caught, Progress(shared) as progress:
        hooks = Hooks(point=progress.point, step=progress.step, stop=caught, notice=shared.notice)
        if resume is None:
            changes["corpus"] = corpus
            result = training.start(
                store, preset, changes, model_id=model_id, device=device, ckpt_dir=ckpt_dir, hooks=hooks
            )
        else:
            if model_id is not None:
                raise output.UsageError("--model-id cannot change in a resumed run; leave it out")
            result = training.resume(
                store, resume, changes, preset=preset, corpus=corpus, device=device, ckpt_dir=ckpt_dir, hooks=hooks
            )
        result["reason"] = caught()
    shared.emit(result, lambda: _summary(result))
    if result["status"] != "ready":
        raise output.Exit(output.TERMINATED if result["reason"] == "SIGTERM" else output.INTERRUPTED)


def _summary(result: dict[str, Any]) -> str:
    if result["status"] != "ready":
        return ""
    return (
        f"{result['model_id']}: step {result['step']}, held-out {result['val_bpb']:.4f} bits per byte, "
        f"{result['cpu_seconds']:.1f} CPU seconds; {result['folder']}"
    )
