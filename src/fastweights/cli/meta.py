"""``fastweights meta``: meta-learning of a TTT-E2E model, or going on with a run that was stopped."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.train import finish

app = App(name="meta", help="Meta-learn a TTT-E2E model: train it through the steps in which it learns as it reads.")


@app.default
def meta(
    *,
    preset: Annotated[str | None, Parameter(alias="--config")] = None,
    corpus: Annotated[str | None, Parameter(alias="--dataset")] = None,
    tokenizer: str | None = None,
    steps: int | None = None,
    schedule_steps: int | None = None,
    seq_len: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    chunk_size: int | None = None,
    window_size: int | None = None,
    inner_lr: float | None = None,
    learned_rates: bool | None = None,
    inner_clip: float | None = None,
    ttt_param_filter: str | None = None,
    first_order: bool | None = None,
    remat: bool | None = None,
    precision: Literal["fp32", "bf16"] | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    allow_large_cpu: Annotated[bool, Parameter(negative=())] = False,
    seed: int | None = None,
    save_every: int | None = None,
    ckpt_dir: Path | None = None,
    resume: str | None = None,
    model_id: str | None = None,
) -> None:
    """Meta-learn a new model, or go on with --resume. Files and log are those of ``train``.

    Parameters
    ----------
    preset
        kv_cpu (the default): KV retrieval, a minute of one core; meta_text_cpu: text, some minutes; meta_8k: text,
        for a GPU; e2e_125m, e2e_350m, e2e_760m, e2e_1b or e2e_3b: the official sizes, which a CPU only plans. Or a
        YAML file.
    corpus
        File, folder, or tiny, shakespeare, synthetic (of presets that read text).
    tokenizer
        As of train.
    steps
        Outer step to stop at.
    schedule_steps
        Length of the learning-rate schedule (default: the preset's steps, or --steps if that is longer).
    seq_len
        Tokens of a sequence; the chunk divides it.
    batch_size
        Sequences that are read side by side, each with fast weights of its own.
    lr
        Peak learning rate of the outer steps.
    chunk_size
        Tokens that are read before each inner step.
    window_size
        Tokens that attention sees; at least the chunk.
    inner_lr
        Rate of the inner steps; of learned rates, where they start.
    learned_rates
        One inner rate a tensor, learned in the outer loop.
    inner_clip
        Clip each sequence's inner gradient to this norm.
    ttt_param_filter
        Parameters that learn: globs, comma-separated; a word without *?[ stands for *word*.
    first_order
        Take the inner gradient for a constant (FOMAML).
    remat
        Compute each inner step again in the backward pass: less memory, more time.
    precision
        bf16: autocast; weights, fast weights and optimiser stay fp32.
    device
        auto, cpu, cuda or mps.
    allow_large_cpu
        Train an official size on a CPU all the same.
    seed
        Of the first weights and of the sequences.
    save_every
        Steps between two checkpoints.
    ckpt_dir
        Keep checkpoints here rather than in the model's folder.
    resume
        Go on with a run's last checkpoint: the model's id, or a folder of checkpoints.
    model_id
        Id of the new model (a-z, 0-9, - and _).
    """
    from fastweights.cli.progress import Progress, catch_signals
    from fastweights.services import meta as service
    from fastweights.services.training import Where
    from fastweights.train.hooks import Hooks

    changes = {
        "tokenizer": tokenizer,
        "steps": steps,
        "schedule_steps": schedule_steps,
        "seq_len": seq_len,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
        "seed": seed,
        "save_every": save_every,
        "chunk_size": chunk_size,
        "window_size": window_size,
        "inner_lr": inner_lr,
        "learned_rates": learned_rates,
        "inner_clip": inner_clip,
        "ttt_param_filter": ttt_param_filter,
        "first_order": first_order,
        "remat": remat,
    }
    shared = output.current()
    where = Where(device, ckpt_dir, None, allow_large_cpu)
    with catch_signals(shared) as caught, Progress(shared) as progress:
        hooks = Hooks(point=progress.point, step=progress.step, stop=caught, notice=shared.notice)
        how = {"where": where, "hooks": hooks, "model_id": model_id}
        if resume is None:
            result = service.start(shared.store(), preset, {**changes, "corpus": corpus}, **how)
        else:
            result = service.resume(shared.store(), resume, changes, preset=preset, corpus=corpus, **how)
        result["reason"] = caught()
    finish(shared, result)
