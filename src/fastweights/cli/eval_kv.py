"""``fastweights eval kv``: facts beyond the attention window, by meta-learning and by every baseline."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fastweights.cli import output


def kv(
    *,
    preset: Annotated[str, Parameter(alias="--config")] = "kv_cpu",
    seeds: int = 3,
    seed: int = 0,
    record: Literal["k_sep_v", "kv"] | None = None,
    records: int | None = None,
    steps: int | None = None,
    sequences: int = 64,
    with_full_attention: Annotated[bool, Parameter(negative=())] = False,
    processes: int | None = None,
    out: Path | None = None,
) -> None:
    """KV retrieval: a model meta-learned to learn as it reads against its baselines, all trained here.

    Parameters
    ----------
    preset
        A preset of the task (kv_cpu), or a YAML file.
    seeds
        How many seeds, each with models and sequences of its own.
    seed
        The first of them.
    record
        k_sep_v (the preset's) or kv, which needs no meta-learning: one step of SGD ties key and value.
    records
        In a sequence.
    steps
        Of training (default: the preset's).
    sequences
        Held-out ones that each accuracy is measured on.
    with_full_attention
        Also train attention over the whole sequence, four times as long.
    processes
        Seeds side by side (default: one a core).
    out
        Write kv.csv, kv.json and kv.png into this folder.
    """
    from fastweights.services.evals import kv_report as eval_kv_report
    from fastweights.services.evals.kv import eval_kv

    shared = output.current()
    found = eval_kv(
        preset,
        seeds=seeds,
        seed=seed,
        record=record,
        records=records,
        steps=steps,
        sequences=sequences,
        with_full_attention=with_full_attention,
        processes=processes,
    )
    if out is not None:
        for path in eval_kv_report.write(found, out):
            shared.notice(f"wrote {path}")
        if not eval_kv_report.can_plot():
            shared.notice(eval_kv_report.NO_PLOTS)
    head = ("model", *(name.replace("_", " ") for name in eval_kv_report.COLUMNS))
    shared.emit(
        found,
        lambda: (
            output.table(eval_kv_report.rows(found), head)
            + f"\nchance {found['chance']:.4f}; {len(found['seeds'])} seeds, {found['cpu_seconds']:.0f} CPU seconds"
        ),
    )
