"""``fastweights train``: offline training of a model, or going on with one that was stopped."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from fastweights.cli import output

app = App(name="train", help="Train a model on text. Nothing leaves the store's folder.")


@app.default
def train(
    *,
    preset: Annotated[str | None, Parameter(alias="--config")] = None,
    corpus: Annotated[str | None, Parameter(alias="--dataset")] = None,
    synthetic: Annotated[bool, Parameter(negative=())] = False,
    tokenizer: str | None = None,
    steps: int | None = None,
    schedule_steps: int | None = None,
    seq_len: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    precision: Literal["fp32", "bf16"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    strategy: str | None = None,
    allow_large_cpu: Annotated[bool, Parameter(negative=())] = False,
    seed: int | None = None,
    save_every: int | None = None,
    ckpt_dir: Path | None = None,
    resume: str | None = None,
    model_id: str | None = None,
) -> None:
    """Train a model on text, or go on with a run that was stopped (SIGINT and SIGTERM leave a checkpoint).

    CPU threads: 1 below 20 million parameters, else all cores; a preset's 'threads' or the environment's
    FASTWEIGHTS_THREADS set another number.

    Several processes: torchrun --standalone --nproc-per-node N -m fastweights train ... --strategy fsdp. A resumed run
    may have another number of them.

    Parameters
    ----------
    preset
        laptop (the default), bench-shakespeare, bench-memory or starter: recurrent models. debug_tiny, ttt_125m,
        bringup_1p3b, ttt_47b (only planned), ttt_linear_official_125m, ttt_linear_official_350m,
        ttt_linear_official_760m or ttt_linear_official_1p3b: models that learn as they read (test-time training).
        pretrain_8k: the plainly trained twin of meta_8k (see fastweights meta). Or a YAML file.
    corpus
        File (text, or lines of {"text": ...} in *.jsonl), folder of *.txt *.md *.text *.tex *.rst *.jsonl, or tiny,
        shakespeare, synthetic. Default: ./training_data, else tiny.
    synthetic
        Train on a made-up text: to try out a machine.
    tokenizer
        byte; bpe or spm_train (trained on the train part of the corpus); hf:PATH (a tokenizer.json of Hugging Face, or
        its folder); a SentencePiece FILE.model; or a saved tokenizer.json.
    steps
        Step to stop at.
    schedule_steps
        Length of the learning-rate schedule (default: the preset's steps, or --steps if that is longer).
    seq_len
        Tokens between two cuts of the gradient.
    batch_size
        Sequences that are read side by side, in each process.
    lr
        Peak learning rate of the matrices.
    precision
        bf16: autocast; weights, fast weights and optimiser stay fp32.
    device
        auto takes cuda, else mps, else cpu (default: the environment's TEXT_LM_DEVICE, else auto).
    strategy
        none (one process), fsdp (FullyShardedDataParallel) or fsdp2 (fully_shard). Default: none; a resumed run's own.
    allow_large_cpu
        Train a large preset on a CPU, too, rather than debug_tiny in its place.
    seed
        Of the first weights and of the windows.
    save_every
        Steps between two checkpoints.
    ckpt_dir
        Keep checkpoints here rather than in the model's folder; a folder for this model alone.
    resume
        Go on with a model's last checkpoint: its id, or a folder of checkpoints, in which it goes on. Its own config
        counts: of the other options only --steps, --device, --strategy, --save-every, --ckpt-dir and --corpus (the same
        text at another place) may differ from it.
    model_id
        Id of the new model (a-z, 0-9, - and _).
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
        "precision": precision,
        "lr": lr,
    }
    if synthetic and corpus not in (None, "synthetic"):
        raise output.UsageError("--synthetic and --corpus exclude each other: leave one out")
    corpus = "synthetic" if synthetic else corpus
    shared = output.current()
    first = os.environ.get("RANK", "0") == "0"  # under torchrun, one process speaks
    if not first:
        shared = replace(shared, quiet=True)
    store = shared.store()
    where = training.Where(device, ckpt_dir, strategy, allow_large_cpu)
    with catch_signals(shared) as caught, Progress(shared) as progress:
        hooks = Hooks(point=progress.point, step=progress.step, stop=caught, notice=shared.notice)
        if resume is None:
            changes["corpus"] = corpus
            result = training.start(store, preset, changes, model_id=model_id, where=where, hooks=hooks)
        else:
            result = training.resume(
                store, resume, changes, preset=preset, corpus=corpus, model_id=model_id, where=where, hooks=hooks
            )
        result["reason"] = caught()
    finish(shared, result, first=first)


def finish(shared: output.Output, result: dict[str, Any], *, first: bool = True) -> None:
    """Says what a run found (``first``: only one process speaks), and ends as it ended."""
    if first:
        shared.emit(result, lambda: _summary(result))
    if result["status"] == "interrupted":
        raise output.Exit(output.TERMINATED if result["reason"] == "SIGTERM" else output.INTERRUPTED)


def _summary(result: dict[str, Any]) -> str:
    if result["status"] == "planned":
        from fastweights.train.plan import plan_text

        return plan_text(result)
    if result["status"] != "ready":
        return ""
    bpb = f", held-out {result['val_bpb']:.4f} bits per byte" if result["val_bpb"] is not None else ""
    return (
        f"{result['model_id']}: step {result['step']}{bpb}, {result['cpu_seconds']:.1f} CPU seconds; {result['folder']}"
    )
