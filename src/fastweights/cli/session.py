"""``fastweights session``: text sessions and the history of their fast weights."""

from typing import TYPE_CHECKING, Any

from cyclopts import App

from fastweights.cli import output
from fastweights.cli.policies import named_policy
from fastweights.cli.session_past import add_past
from fastweights.cli.session_verbs import COMMIT_NAMES, add_verbs, note_damaged
from fastweights.hints import validate_given
from fastweights.services.records import BY_RULE, SessionInfo, SessionOptions

if TYPE_CHECKING:
    from fastweights.services.chat import ChatService

app = App(
    name="session", help=f"Sessions: a model and the fast weights that it learned in a conversation. {COMMIT_NAMES}"
)


def service() -> "ChatService":
    """The chat service of this call's store; torch loads when a session is opened."""
    from fastweights.services.chat import ChatService

    return ChatService(output.current().store())


def session_options(policy: str | None, **given: Any) -> SessionOptions:
    """Options from flags (None: the default), and a policy by name or file ("default": the model's)."""
    if policy not in (None, "default"):
        given["policy"] = named_policy(policy)
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
        mix (the default), linear, low_rank (context nets), head, delta or ngram: what is fast (docs/memory.md). mix,
        delta and ngram write by rules of their own: with a rule given and no memory it is linear. A model that learns
        as it reads (ttt_lm, e2e) has fast weights and a rule of its own: leave out what follows down to --inner-steps.
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
        Tokens that are read before each write (default: 64; of an e2e model the chunk that it was trained with).
    policy
        Guard policy: a YAML or JSON file, or a name: default (the one calibrated on the model, if one ships), observe,
        toy, starter.
    spfw
        Project each write so that no canary's loss rises to first order (default: as the policy says, which is on).
    """
    options = session_options(
        policy,
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
    info = service().new(options, name, spfw=spfw)
    output.current().emit(info, lambda: info.session_id)


@app.command
def ls() -> None:
    """All sessions, last used first."""
    sessions = (chats := service()).list()
    note_damaged(chats)
    rows = ((s.session_id, s.model, s.n_turns, s.drift, s.updated_at[:19], s.title) for s in sessions)
    head = ("session", "model", "turns", "drift", "last used", "title")
    output.current().emit(
        sessions, lambda: output.table(rows, head) if sessions else "no sessions yet: `fastweights session new`"
    )


@app.command
def show(session: str) -> None:
    """A session's turns, as its state has seen them (a reset drops those after it).

    Parameters
    ----------
    session
        Session id.
    """
    from fastweights.services.transcript import describe_turn
    from fastweights.services.update_rules import has_own_rule

    chats = service()
    detail = chats.show(session)
    own = has_own_rule(chats.pool.models, detail.model)
    text = [_describe(detail, own), *(describe_turn(turn) for turn in detail.turns)]
    text += [f"taken back: turn {t.turn} by {(t.reverted_by or '')[:8]}: {t.prompt}" for t in detail.reverted]
    output.current().emit(detail, lambda: "\n\n".join(text))


def _describe(info: SessionInfo, own_rule: bool) -> str:
    o = info.options
    if own_rule:
        learns = f"its own fast weights by its own rule, judged every {o.chunk_tokens} tokens"
    elif o.memory in BY_RULE:
        learns = f"{o.memory} memory, {o.rule} lr {o.lr:g}, {o.inner_steps} step(s) every {o.chunk_tokens} tokens"
    else:
        learns = f"{o.memory} memory, written every {o.chunk_tokens} tokens"
    return f"{info.session_id}: model {info.model}, {learns}; head {info.head[:12]}"


add_verbs(app, service)
add_past(app, service)
