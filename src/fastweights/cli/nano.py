"""``fastweights nano``: a plastic state-space model in a world of known physics."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.nano_session import app as session_app
from fastweights.hints import validate_given
from fastweights.models.nano_config import NanoLearning, NanoPretrain
from fastweights.services.nano.records import NanoBase, NanoRun, NanoRunRequest

app = App(
    name="nano", help="Nano: weights that learn a world whose friction is hidden, beside an oracle that knows it."
)

app.command(session_app)

ModeName = Literal["linear", "nonlinear"]
RuleName = Literal["rls", "muon", "sgd"]


@app.command
def run(
    *,
    steps: int | None = None,
    seed: int | None = None,
    mode: ModeName | None = None,
    rule: RuleName | None = None,
    lr: float | None = None,
    noise: float | None = None,
    mu: float | None = None,
    inner_steps: int | None = None,
    replay: int | None = None,
    momentum: float | None = None,
    forgetting: float | None = None,
    prior: float | None = None,
    plot: Annotated[bool, Parameter(negative="--no-plot")] = True,
) -> None:
    """Read one trajectory: the frozen base, the learning model, an oracle, and what else one would try.

    Parameters
    ----------
    steps
        How many (1000); every 32 the guard judges one write.
    seed
        Of the world: its friction, its actions, its noise (0).
    mode
        linear, or nonlinear: friction is four times as strong where the body is slow.
    rule
        rls (recursive least squares on W_o, the default), muon or sgd (all three matrices).
    lr
        Learning rate of muon and sgd.
    noise
        Standard deviation of a random force (0).
    mu
        The friction itself, in place of the seed's.
    inner_steps
        Steps of muon or sgd each write.
    replay
        Steps that muon and sgd look back on.
    momentum
        Of muon and sgd.
    forgetting
        Of rls, each step.
    prior
        Of rls: P_0, the most that the covariance may be.
    plot
        Write plot.png too.
    """
    from fastweights.services.nano.runs import NanoService

    shared = output.current()
    learning = validate_given(
        NanoLearning,
        "nano run",
        rule=rule,
        lr=lr,
        inner_steps=inner_steps,
        replay=replay,
        momentum=momentum,
        forgetting=forgetting,
        prior=prior,
    )
    request = validate_given(
        NanoRunRequest, "nano run", steps=steps, seed=seed, mode=mode, noise=noise, mu=mu, learning=learning
    )
    record = NanoService(shared.store(), shared.notice).run(request, plot=plot)
    for note in record.notes:
        shared.notice(note)
    shared.emit(record, lambda: _text(record))


@app.command
def pretrain(
    *,
    mode: Literal["linear", "nonlinear", "both"] = "both",
    seed: int | None = None,
    steps: int | None = None,
    worlds: int | None = None,
    length: int | None = None,
    noise: float | None = None,
    lr: float | None = None,
) -> None:
    """Train the base model of a mode (about a second) in place of the one there may be.

    Parameters
    ----------
    mode
        linear, nonlinear, or both.
    seed
        Of the worlds and the first weights (0).
    steps
        Steps of the optimiser (1500).
    worlds
        Worlds that it is trained on (256).
    length
        Steps of each world (384).
    noise
        Standard deviation of the random force in them (0.5).
    lr
        Peak learning rate (0.01).
    """
    from fastweights.services.nano.runs import MODES, NanoService

    shared = output.current()
    how = validate_given(
        NanoPretrain, "nano pretrain", seed=seed, steps=steps, worlds=worlds, length=length, noise=noise, lr=lr
    )
    service = NanoService(shared.store(), shared.notice)
    records = [service.pretrain(one, how) for one in MODES if mode in (one, "both")]
    shared.emit(records if mode == "both" else records[0], lambda: "\n".join(map(_base_text, records)))


def _base_text(record: NanoBase) -> str:
    return (
        f"{record.mode}: {record.plastic_parameters} plastic parameters, error {record.train_mse:.4g} on its own "
        f"worlds (random force included), {record.pretrain_cpu_seconds:.1f} CPU seconds"
    )


def _text(record: NanoRun) -> str:
    rows = [
        ("oracle (true mu)", record.oracle_mse),
        ("adaptive", record.adaptive_mse),
        ("re-fit by least squares", record.refit_mse),
        ("frozen base", record.frozen_mse),
        ("simulator, mean mu", record.mean_mu_mse),
    ]
    gap = "" if record.gap_closed is None else f", {record.gap_closed:.1%} of the gap to the oracle closed"
    return (
        f"{output.table(rows, ('one step ahead', 'mean squared error'))}\n\n"
        f"run {record.run_id}: mu {record.mu:.4f}, {record.commits} writes committed, {record.rollbacks} refused{gap}; "
        f"{record.steps_per_cpu_second:,.0f} steps per CPU second\n" + "\n".join(record.files)
    )
