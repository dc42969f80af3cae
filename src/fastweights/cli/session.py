"""``fastweights session``: text sessions and the history of their fast weights."""

from typing import TYPE_CHECKING, Any

from cyclopts import App

from fastweights.cli import output
from fastweights.cli.policies import adjusted, named_policy
from fastweights.hints import validate_given
from fastweights.services.records import SessionInfo, SessionOptions

if TYPE_CHECKING:
    from fastweights.services.chat import ChatService

app = App(name="session", help="Sessions: a model and the fast weights that it learned in a conversation.")


def service() -> "ChatService":
    """The chat service of this call's store; torch loads when a session is opened."""
    from fastweights.services.chat import ChatService

    return ChatService(output.current().store())


def session_options(policy: str | None, spfw: bool | None, **given: Any) -> SessionOptions:
    """Options from flags (None: the default), a policy by name or file, and the SPFW switch (None: its)."""
    if policy is not None or spfw is not None:
        given["policy"] = adjusted(named_policy(policy), words=True, spfw=spfw)
    return validate_given(SessionOptions, "session", **given)


@app.command
def new(
    *,
    model: str | None = None,
    name: str | None = None,
    memory: str | None = None,
    rank: int | None = None,
    rule: str | None = None,
    lr: float | None = None,
    momentum: float | None = None,
    clip: float | None = None,
    inner_steps: int | None = None,
    chunk_tokens: int | None = None,
    policy: str | None = None,
    spfw: bool | None = None,
) -> None:
    """Begin a session.

    Parameters
    ----------
    model
        Model id (default: the latest usable one, never a candidate).
    name
        Id of the new session (default: made up).
    memory
        linear or low_rank: the context net whose weights are fast.
    rank
        Of the low_rank memory.
    rule
        sgd or muon.
    lr
        Learning rate of the rule.
    momentum
        Of the rule.
    clip
        Longest gradient that sgd takes whole (L2 over all fast weights).
    inner_steps
        Rule steps a chunk.
    chunk_tokens
        Tokens that are read before each write.
    policy
        Guard policy: a YAML or JSON file, or a name (default, observe, toy, starter).
    spfw
        Project each write so that no canary's loss rises to first order (default: as the policy says, which is on).
    """
    options = session_options(
        policy,
        spfw,
        model=model,
        memory=memory,
        rank=rank,
        rule=rule,
        lr=lr,
        momentum=momentum,
        clip=clip,
        inner_steps=inner_steps,
        chunk_tokens=chunk_tokens,
    )
    info = service().new(options, name)
    output.current().emit(info, lambda: info.session_id)


@app.command
def ls() -> None:
    """All sessions, last used first."""
    sessions = service().list()
    rows = ((s.session_id, s.model, s.n_turns, s.drift, s.updated_at[:19], s.title) for s in sessions)
    head = ("session", "model", "turns", "drift", "last used", "title")
    output.current().emit(
        sessions, lambda: output.table(rows, head) if sessions else "no sessions yet: `fastweights session new`"
    )


@app.command
def show(session: str) -> None:
    """A session's turns since its last reset.

    Parameters
    ----------
    session
        Session id.
    """
    from fastweights.services.transcript import describe_turn

    detail = service().show(session)
    text = [_describe(detail), *(describe_turn(turn) for turn in detail.turns)]
    output.current().emit(detail, lambda: "\n\n".join(text))


@app.command
def log(session: str) -> None:
    """Every commit of a session, newest first.

    Parameters
    ----------
    session
        Session id.
    """
    commits = service().log(session)
    rows = (
        (c.commit[:12], c.kind, c.turn, c.committed, c.blocked, c.rolled_back, c.drift, c.created_at[:19], c.summary)
        for c in commits
    )
    head = ("commit", "kind", "turn", "committed", "blocked", "rolled back", "drift", "time", "summary")
    output.current().emit(commits, lambda: output.table(rows, head))


@app.command
def fork(session: str, *, name: str | None = None, at: str | None = None) -> None:
    """A new session at another's head, or at one of its commits.

    Parameters
    ----------
    session
        Session to fork.
    name
        Id of the new session (default: made up).
    at
        Commit (its first 6 digits are enough).
    """
    info = service().fork(session, name, at)
    output.current().emit(info, lambda: info.session_id)


@app.command
def reset(session: str) -> None:
    """Back to the initial state; the history stays in the log.

    Parameters
    ----------
    session
        Session id.
    """
    info = service().reset(session)
    output.current().emit(info, lambda: f"{info.session_id}: reset, head {info.head[:12]}")


def _describe(info: SessionInfo) -> str:
    o = info.options
    learns = f"{o.memory} memory, {o.rule} lr {o.lr:g}, {o.inner_steps} step(s) every {o.chunk_tokens} tokens"
    return f"{info.session_id}: model {info.model}, {learns}; head {info.head[:12]}"
