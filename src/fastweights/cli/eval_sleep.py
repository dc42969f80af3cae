"""``fastweights eval sleep``: what each way of sleeping keeps and what it forgets."""

from typing import Any, Literal

from fastweights.cli import output
from fastweights.models.memory.names import DEFAULT, MemoryName


def sleep(
    *,
    model: str | None = None,
    sessions: int = 20,
    facts: int = 3,
    times: int = 2,
    memory: MemoryName = DEFAULT,
    core_path: str | None = None,
    train_steps: int = 120,
    replay_lr: float | None = None,
    mode: Literal["delta", "replay", "both"] = "both",
    seed: int = 0,
) -> None:
    """Sessions of a store of their own are told made-up facts; both ways of sleeping make a candidate at equal CPU.

    Parameters
    ----------
    model
        Id of a model (default: the latest usable one).
    sessions
        How many sessions.
    facts
        Facts that each is told.
    times
        How often, each time in a turn of its own.
    memory
        Of the sessions (linear, low_rank, head, delta, ngram, mix).
    core_path
        Text that must not be forgotten (default: what the model was trained on).
    train_steps
        Of delta; replay gets as much CPU as delta took.
    replay_lr
        Muon's rate of replay (0.0002).
    mode
        Only this one.
    seed
        Of names, letters and training.
    """
    from fastweights.services.evals.sleep import MODES, eval_sleep

    out = output.current()
    found = eval_sleep(
        out.store(),
        model_id=model,
        sessions=sessions,
        facts=facts,
        times=times,
        memory=memory,
        core_path=core_path,
        train_steps=train_steps,
        replay_lr=replay_lr,
        modes=MODES if mode == "both" else (mode,),
        seed=seed,
        note=out.notice,
    )
    out.emit(found, lambda: _table(found))


def _table(found: dict[str, Any]) -> str:
    head = ("mode", "base", "adapted", "candidate", "closed", "retention", "core rise", "canary rise", "steps", "CPU s")
    rows = [
        (
            row["mode"],
            *row["bits_per_letter"].values(),
            row["closed"],
            row["retention"],
            f"{row['core_rise']:+.4f}",
            f"{row['worst_canary_rise']:+.4f}",
            row["steps"],
            row["cpu_seconds"],
        )
        for row in found["results"]
    ]
    told = f"{found['facts']} facts in {found['sessions']} sessions, {found['memory']}; bits a letter:"
    return f"{told}\n{output.table(rows, head)}"
