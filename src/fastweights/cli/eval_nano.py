"""``fastweights eval nano``: does learning help, over many worlds?"""

from typing import Literal

from fastweights.cli import output
from fastweights.evals.nano_records import NanoEvaluation
from fastweights.hints import validate_given
from fastweights.services.nano.records import NanoEvalRequest


def nano(
    *,
    seeds: int | None = None,
    seed: int | None = None,
    steps: int | None = None,
    rule: Literal["rls", "muon", "sgd"] | None = None,
    mode: Literal["linear", "nonlinear"] | None = None,
    noise: float | None = None,
) -> None:
    """Nano over many worlds: how often learning helps, and what share of what could be gained it gains.

    Parameters
    ----------
    seeds
        How many worlds for each rule and mode (40).
    seed
        The first of them (1000: none that anything was tuned on).
    steps
        Steps of each world (1000).
    rule
        Only this one (default: rls, muon and sgd).
    mode
        Only this one (default: both).
    noise
        Standard deviation of a random force (0).
    """
    from fastweights.services.nano.runs import NanoService

    request = validate_given(
        NanoEvalRequest, "eval nano", seeds=seeds, seed=seed, steps=steps, rule=rule, mode=mode, noise=noise
    )
    shared = output.current()
    found = NanoService(shared.store(), shared.notice).evaluate(request)
    shared.emit(found, lambda: _scores(found))


def _scores(found: NanoEvaluation) -> str:
    rows = [
        (
            one.rule,
            one.mode,
            f"{one.wins}/{one.runs}",
            f"{one.gap_closed:.3f} ({one.gap_closed_ci[0]:.3f} to {one.gap_closed_ci[1]:.3f})",
            one.refit_gap_closed,
            one.frozen_over_mean_mu,
            one.rollbacks,
            f"{one.steps_per_cpu_second:,.0f}",
        )
        for one in found.scores
    ]
    head = ("rule", "mode", "wins", "gap closed", "by re-fit", "frozen / mean mu", "refused", "steps/CPU s")
    last = found.first_seed + found.seeds - 1
    return f"{output.table(rows, head)}\n\nseeds {found.first_seed} to {last}, {found.steps} steps each"
