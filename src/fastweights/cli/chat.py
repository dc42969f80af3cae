"""``fastweights chat``: one message, or a conversation in the terminal."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.cli.session import service
from fastweights.hints import validate_given
from fastweights.services.records import Sampling, SessionOptions, Turn

if TYPE_CHECKING:
    from fastweights.services.chat import ChatService

app = App(name="chat", help="Talk to a session; its fast weights learn as it reads.")


@app.default
def chat(
    *,
    session: str | None = None,
    message: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    model: str | None = None,
    seed: int | None = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Annotated[list[str] | None, Parameter(negative="")] = None,
    frozen: bool = False,
    compare: bool = False,
) -> None:
    """Send a message, or talk line by line if none is given.

    Parameters
    ----------
    session
        Session id (default: a new session).
    message
        What to say; `-` reads it from standard input. Without it: a conversation, or standard input if it is piped.
    model
        Model of a new session.
    seed
        Of the sampling; the same seed, prompt and state give the same reply.
    max_new_tokens
        Length of the reply at most.
    temperature
        0 is greedy.
    top_p
        Nucleus sampling.
    stop
        Text that ends the reply (may be repeated).
    frozen
        Answer without any fast weight and without learning; nothing is stored.
    compare
        Also show the frozen answer to the same prompt and seed.
    """
    sampling = validate_given(
        Sampling,
        "chat",
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        stop=stop,
    )
    if session is not None and model is not None:
        raise output.UsageError("--model is for a new session; a session keeps the model that it began with")
    if message == "-" or (message is None and not sys.stdin.isatty()):
        message = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    chats = service()
    if message is None:
        _converse(chats, _session(chats, session, model), sampling, frozen=frozen, compare=compare)
        return
    from fastweights.services.generate import check_text

    check_text("message", message)  # before a session is made for it
    session = _session(chats, session, model)
    turn = _say(chats, session, message, sampling, frozen=frozen, compare=compare)
    output.current().line({"session_id": session, **turn.model_dump()})
    if turn.stopped == "cancelled":
        raise output.Exit(output.INTERRUPTED)


def _session(chats: "ChatService", session: str | None, model: str | None) -> str:
    if session is not None:
        return session
    info = chats.new(SessionOptions(model=model))
    output.current().notice(f"session {info.session_id} (model {info.model})")
    return info.session_id


def _converse(chats: "ChatService", session: str, sampling: Sampling, *, frozen: bool, compare: bool) -> None:
    output.current().notice("Each line is a message. Ctrl-C ends a reply, Ctrl-D the conversation.")
    while True:
        try:
            message = input("> ")
        except EOFError:
            output.current().notice("")
            return
        if message.strip():
            _say(chats, session, message, sampling, frozen=frozen, compare=compare)
            sampling = sampling.model_copy(update={"seed": sampling.seed + 1})


@contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Within: Ctrl-C and SIGTERM end the reply rather than the program; what was said until then is kept."""
    caught: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: caught.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(chats: "ChatService", session: str, message: str, sampling: Sampling, *, frozen: bool, compare: bool) -> Turn:
    """One turn, streamed to the terminal unless the output is JSON."""
    from fastweights.services.transcript import describe_learning

    shared = output.current()
    speaker = ""

    def show(kind: str, payload: Any) -> None:
        nonlocal speaker
        if kind == "chunk":
            return
        if kind != speaker and compare:
            output.write(("\n" if speaker else "") + ("frozen  < " if kind == "frozen_token" else "adapted < "))
        speaker = kind
        output.write(payload)

    with _caught_signals() as caught:
        turn = chats.send(
            session,
            message,
            sampling,
            frozen=frozen,
            compare=compare,
            on_event=None if shared.json else show,
            cancelled=lambda: bool(caught),
        )
    if not shared.json:
        output.write("\n")
        shared.notice(describe_learning(turn))
    if turn.warning:
        shared.notice(f"notice: {turn.warning}")
    if signal.SIGTERM in caught:
        shared.line({"session_id": session, **turn.model_dump()})
        raise output.Exit(output.TERMINATED)
    return turn
