"""``fastweights nano session``: worlds that a session lives in, and the history of what it learned there."""

from typing import TYPE_CHECKING

from cyclopts import App

from fastweights.cli import output
from fastweights.cli.session_verbs import COMMIT_NAMES, add_verbs, note_damaged
from fastweights.data.physics import Mode
from fastweights.hints import validate_given
from fastweights.models.nano_config import NanoLearning, Rule
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.session_records import NanoSessionDetail, NanoSessionRun, NanoSteps

if TYPE_CHECKING:
    from fastweights.services.nano.sessions import NanoSessionService

app = App(
    name="session",
    help=f"Sessions of Nano: a world, and plastic weights that go on learning in it. {COMMIT_NAMES}",
)
_CURVES = ("base, no update", "session, no update", "session, with updates", "oracle")


def service() -> "NanoSessionService":
    """The service of this call's store; torch loads when a session is opened."""
    from fastweights.services.nano.runs import NanoService
    from fastweights.services.nano.sessions import NanoSessionService

    shared = output.current()
    store = shared.store()
    return NanoSessionService(store, NanoService(store, shared.notice))


@app.command
def new(
    *,
    name: str | None = None,
    seed: int | None = None,
    mode: Mode | None = None,
    noise: float | None = None,
    mu: float | None = None,
    rule: Rule | None = None,
    lr: float | None = None,
    inner_steps: int | None = None,
    replay: int | None = None,
    momentum: float | None = None,
    forgetting: float | None = None,
    prior: float | None = None,
) -> None:
    """Begin a session; the first one of a mode trains the base model.

    Parameters
    ----------
    name
        Id of the new session (default: made up).
    seed
        Of the world: its friction, its actions, its noise (0).
    mode
        linear, or nonlinear: friction is four times as strong where the body is slow.
    noise
        Standard deviation of a random force (0).
    mu
        The friction itself, in place of the seed's.
    rule
        rls (recursive least squares on W_o, the default), muon or sgd (all three matrices).
    lr
        Learning rate of muon and sgd.
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
    """
    learning = validate_given(
        NanoLearning,
        "nano session new",
        rule=rule,
        lr=lr,
        inner_steps=inner_steps,
        replay=replay,
        momentum=momentum,
        forgetting=forgetting,
        prior=prior,
    )
    setting = validate_given(
        NanoSetting, "nano session new", seed=seed, mode=mode, noise=noise, mu=mu, learning=learning
    )
    shared = output.current()
    for field in learning.idle:
        shared.notice(f"rule {learning.rule} does not look at {field}")
    info = service().new(setting, name)
    shared.emit(info, lambda: info.session_id)


@app.command
def run(session: str, *, steps: int | None = None) -> None:
    """Go on in the session's world, and commit: three curves over the same steps, and every write.

    Parameters
    ----------
    session
        Session id.
    steps
        How many (1000); every 32 the guard judges one write.
    """
    asked = validate_given(NanoSteps, "nano session run", steps=steps)
    record = service().run(session, asked.steps)
    output.current().emit(record, lambda: _describe_run(record))


@app.command
def ls() -> None:
    """All sessions of Nano, last used first."""
    sessions = (nano := service()).list()
    note_damaged(nano)
    rows = (
        (s.session_id, s.model, s.options.learning.rule, s.n_turns, s.drift, s.updated_at[:19], s.parent_session)
        for s in sessions
    )
    head = ("session", "model", "rule", "runs", "drift", "last used", "forked from")
    output.current().emit(
        sessions, lambda: output.table(rows, head) if sessions else "no sessions yet: `fastweights nano session new`"
    )


@app.command
def show(session: str) -> None:
    """A session with its runs, as its state has seen them (a reset drops those after it).

    Parameters
    ----------
    session
        Session id.
    """
    detail = service().show(session)
    output.current().emit(detail, lambda: _describe(detail))


def _describe(d: NanoSessionDetail) -> str:
    rows = (
        (
            r.turn,
            r.run_id,
            f"{r.from_step}-{r.to_step}",
            r.committed,
            r.blocked + r.rolled_back,
            *_errors(r),
            r.drift,
            "yes" if r.reverted else None,
        )
        for r in d.runs
    )
    head = ("run", "id", "steps", "committed", "refused", *_CURVES, "drift", "reverted")
    line = (
        f"{d.session_id}: {d.model} world {d.options.seed}, mu {d.mu:.4f}, rule {d.options.learning.rule}; "
        f"step {d.step}, {d.writes} writes; head {d.head[:12]}"
    )
    return f"{line}\n\n{output.table(rows, head) if d.runs else 'no runs yet: `fastweights nano session run`'}"


def _describe_run(r: NanoSessionRun) -> str:
    rows = zip(_CURVES, _errors(r), strict=True)
    return (
        f"{output.table(rows, ('one step ahead', 'mean squared error'))}\n\n"
        f"run {r.run_id}: steps {r.from_step} to {r.to_step}, {r.committed} writes committed, "
        f"{r.blocked + r.rolled_back} refused; commit {r.commit[:12]}"
    )


def _errors(r: NanoSessionRun) -> tuple[float | None, ...]:
    return (r.baseline_mse, r.session_frozen_mse, r.adaptive_mse, r.oracle_mse)


add_verbs(app, service)
