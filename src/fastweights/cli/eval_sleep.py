"""``fastweights eval sleep``: what each way of sleeping keeps and what it forgets."""

from typing import Any, Literal

from fastweights.cli import output
from fastweights.data.physics import Mode
from fastweights.errors import FastweightsError
from fastweights.hints import validate_given
from fastweights.models.memory.names import MemoryName

_NANO_ONLY = ("steps", "rule", "noise")


def sleep(
    *,
    model: str | None = None,
    sessions: int | None = None,
    facts: int | None = None,
    times: int | None = None,
    memory: MemoryName | None = None,
    core_path: str | None = None,
    train_steps: int | None = None,
    replay_lr: float | None = None,
    mode: Literal["delta", "replay", "both"] | None = None,
    nano: Mode | None = None,
    steps: int | None = None,
    rule: Literal["rls", "muon", "sgd"] | None = None,
    noise: float | None = None,
    seed: int | None = None,
) -> None:
    """Sessions of a store of their own are told made-up facts; both ways of sleeping make a candidate at equal CPU.

    Or, with --nano, they live in worlds of their own, and a base model of Nano is made from what they learned there.

    Parameters
    ----------
    model
        Id of a model (default: the latest usable one).
    sessions
        How many sessions (20; of Nano 8).
    facts
        Facts that each is told (3).
    times
        How often, each time in a turn of its own (2).
    memory
        Of the sessions: linear, low_rank, head, delta, ngram or mix (mix; TTT and TTT-E2E models are their own).
    core_path
        Text that must not be forgotten (default: what the model was trained on).
    train_steps
        Of delta (120); replay gets as much CPU as delta took.
    replay_lr
        Muon's rate of replay (0.0002).
    mode
        delta or replay alone (both).
    nano
        linear or nonlinear: sessions of Nano instead.
    steps
        Of Nano: steps that each session reads (1024).
    rule
        Of Nano: by which they learn (rls).
    noise
        Of Nano: standard deviation of a random force in their worlds (0).
    seed
        Of names, letters, worlds and training (0).
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "nano"}
    out = output.current()
    wrong = [n for n in given if (n in _NANO_ONLY) != (nano is not None) and n not in ("sessions", "seed")]
    if wrong:
        kind = "text" if nano is not None else "Nano"
        raise FastweightsError(f"{wrong[0]} {given[wrong[0]]}: that is for {kind} sessions; leave it out")
    if nano is not None:
        from fastweights.services.evals.nano_sleep import eval_nano_sleep
        from fastweights.services.nano.records import NanoSleepEvalRequest

        request = validate_given(NanoSleepEvalRequest, "eval sleep", **given)
        lived = eval_nano_sleep(out.store(), nano, request, out.notice)
        out.emit(lived, lambda: _nano_table(lived))
        return
    from fastweights.services.evals.sleep import eval_sleep

    if (one := given.pop("mode", "both")) != "both":
        given["modes"] = (one,)
    found = eval_sleep(out.store(), model_id=given.pop("model", None), note=out.notice, **given)
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


def _nano_table(found: dict[str, Any]) -> str:
    head = ("mode", "base", "adapted", "candidate", "closed", "retention", "worlds before", "worlds after", "CPU s")
    rows = [
        (
            row["mode"],
            *row["mse"].values(),
            row["closed"],
            row["retention"],
            row["core_before"],
            row["core_after"],
            row["cpu_seconds"],
        )
        for row in found["results"]
    ]
    told = f"{found['sessions']} {found['nano']} worlds of {found['steps']} steps, {found['rule']}; squared errors in:"
    return f"{told} the steps after them\n{output.table(rows, head)}"
