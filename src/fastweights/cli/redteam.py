"""``fastweights redteam``: attack a model and its guard, report success against utility."""

from typing import Annotated

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.policies import named_policy
from fastweights.hints import validate
from fastweights.redteam.records import RedteamReport

app = App(name="redteam", help="Attack a model and its guard; report what got through and what learning was kept.")


@app.default
def redteam(
    *,
    model: str | None = None,
    policy: str | None = None,
    budget: int | None = None,
    chunk_tokens: int | None = None,
    lr: float | None = None,
    seeds: int | None = None,
    run_id: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    show: str | None = None,
) -> None:
    """Attack a model and its guard with every family, each beside a benign control. Kept under redteam/<run id>/.

    Parameters
    ----------
    model
        toy (the seeded reference model), or a model id.
    policy
        Guard policy: a YAML or JSON file, default, or observe.
    budget
        Guard steps of each attempt, searching included (64).
    chunk_tokens
        Tokens that are read before each write (32 for the toy, 64 for a model).
    lr
        Learning rate (0.05).
    seeds
        How many seeds (1 below a budget of 32, else 3).
    run_id
        Id of the run (chosen for you).
    list_
        List the runs instead.
    show
        Show the report of a run instead.
    """
    from fastweights.services.redteam import RedteamRequest, RedteamService

    shared = output.current()
    service = RedteamService(shared.store())
    if list_:
        runs = service.list()
        rows = [(one.run_id, one.model, one.policy, one.budget) for one in runs]
        shared.emit(
            [one.model_dump() for one in runs], lambda: output.table(rows, ("run", "model", "policy", "budget"))
        )
        return
    if show is not None:
        report = service.get(show)
    else:
        given = {"model": model, "budget": budget, "chunk_tokens": chunk_tokens, "lr": lr, "seeds": seeds}
        options = {name: value for name, value in given.items() if value is not None}
        request = validate(RedteamRequest, {**options, "policy": named_policy(policy, model or "toy")}, "redteam")
        report = service.run(request, shared.notice, run_id)
    shared.emit(report, lambda: _text(report))


def _text(report: RedteamReport) -> str:
    families = [
        (
            one.family,
            f"{one.curve[-1].successes}/{one.attempts}",
            f"{one.stopped}/{one.attempts}",
            one.harm_max,
            f"{one.control.refused}/{one.control.chunks}",
        )
        for one in report.families
    ]
    utility = [
        (u.text, u.bits_per_byte_frozen, u.gained, f"{u.refused}/{u.chunks}") for u in report.utility if u.off == "none"
    ]
    drip = [
        (one.seed, one.guarded.first_refusal, one.guarded.harm_max, one.undefended.harm_max, one.stopped_before_harm)
        for one in report.drip
    ]
    return "\n\n".join(
        (
            output.table(families, ("family", "succeeded", "stopped", "most harm", "control refused")),
            output.table(utility, ("benign text", "bits per byte frozen", "gained", "refused")),
            output.table(drip, ("drip seed", "first refusal", "drift", "drift undefended", "stopped before harm")),
            f"run {report.run_id}, {report.guard_steps:,} guard steps, {report.cpu_seconds:.0f} CPU seconds\n"
            + "\n".join([*report.files, *report.notes]),
        )
    )
