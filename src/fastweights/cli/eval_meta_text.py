"""``fastweights eval meta-text``: meta-learning on real text against plain pretraining, at equal CPU time."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fastweights.cli import output


def meta_text(
    *,
    preset: Annotated[str, Parameter(alias="--config")] = "meta_text_cpu",
    corpus: str | None = None,
    cpu_seconds: float = 120.0,
    seeds: int = 3,
    seed: int = 0,
    scored_bytes: int = 3 << 14,
    tuning_bytes: int = 1 << 14,
    out: Path | None = None,
) -> None:
    """Real text: what learning while reading gains a meta-learned model, and a plain one of equal training CPU time.

    Parameters
    ----------
    preset
        Meta-learning of text (meta_text_cpu), or a YAML file; its meta.plain is a share of the CPU seconds here.
    corpus
        File, folder, tiny or shakespeare (default: the preset's).
    cpu_seconds
        Of training, for each of the two.
    seeds
        So many runs, from --seed on; from two on with half of the mean's 95 % interval.
    seed
        Of weights and samples.
    scored_bytes
        Held-out bytes that are measured.
    tuning_bytes
        Held-out bytes before them, that the rates of dynamic evaluation are tuned on.
    out
        Write meta_text.json into this folder.
    """
    from fastweights.services.evals.meta_text import GAINS, READS, ROWS, eval_meta_text
    from fastweights.store import atomic

    shared = output.current()
    found = eval_meta_text(
        preset,
        corpus=corpus,
        cpu_seconds=cpu_seconds,
        seeds=seeds,
        seed=seed,
        scored_bytes=scored_bytes,
        tuning_bytes=tuning_bytes,
        notice=shared.notice,
    )
    if out is not None:
        atomic.ensure_dir(out)
        atomic.write_bytes(out / "meta_text.json", atomic.dump_json(found) + b"\n")
    names = (*ROWS, *GAINS)
    rows = [
        (name.replace("_", " "), *(_cell((found[read] | found[read]["gains"])[name]) for read in READS))
        for name in names
    ]
    shared.emit(
        found,
        lambda: (
            output.table(rows, ("bits per byte", *(read.replace("_", " ") for read in READS)))
            + f"\n{len(found['seeds'])} seeds, {found['parameters']:,} parameters, {found['budget_cpu_seconds']:.0f} "
            f"CPU seconds of training each; {found['cpu_seconds']:.0f} CPU seconds in all"
        ),
    )


def _cell(figure: dict[str, Any]) -> str:
    half = "" if figure["half_width"] is None else f" ± {figure['half_width']:.3f}"
    return f"{figure['mean']:.4f}{half}"
