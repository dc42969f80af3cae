"""``fastweights session blame | bisect | meter | recall``: what a session's past is asked."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from fastweights.cli import output
from fastweights.hints import validate_given
from fastweights.services.past_records import BisectRequest, BlameRequest, RecallRequest

if TYPE_CHECKING:
    from fastweights.guard.event import Event
    from fastweights.services.chat import ChatService
    from fastweights.services.past_records import Bisection, Blame, Meter, Recall

Service = Callable[[], "ChatService"]


def add_past(app: App, service: Service) -> None:
    """``blame bisect meter recall`` on ``app``, over the text sessions of ``service``."""

    @app.command
    def blame(
        session: str,
        *,
        probe: str,
        answer: str | None = None,
        exact: Annotated[bool, Parameter(negative="")] = False,
        top: int | None = None,
    ) -> None:
        """Name the turns that moved an answer: how each changed the probe's loss under the session's fast weights.

        Parameters
        ----------
        session
            Session id.
        probe
            The text that is scored, or that stands before the answer.
        answer
            What is to come after the probe; only it is counted.
        exact
            For the first of them also by leaving the turn out: all turns after it are replayed without it.
        top
            How many turns --exact leaves out (5).
        """
        from fastweights.services.blame import blame

        asked = validate_given(BlameRequest, "blame", probe=probe, answer=answer, exact=exact, top=top)
        found = blame(service(), session, asked)
        output.current().emit(found, lambda: _describe_blame(found))

    @app.command
    def bisect(
        session: str,
        *,
        canary: str | None = None,
        probe: str | None = None,
        answer: str | None = None,
        threshold: float | None = None,
    ) -> None:
        """Find the turn that broke a canary, by binary search over the session's states.

        Parameters
        ----------
        session
            Session id.
        canary
            Its name (default: the canary that stands highest above its loss at the start).
        probe
            In place of a canary: a text of yours, whose loss should not have risen.
        answer
            What is to come after the probe; only it is counted.
        threshold
            Nats per token above the loss at the start that count as broken (default: half of the rise at the head).
        """
        from fastweights.services.blame import bisect

        asked = validate_given(BisectRequest, "bisect", canary=canary, probe=probe, answer=answer, threshold=threshold)
        found = bisect(service(), session, asked)
        output.current().emit(found, lambda: _describe_bisection(found))

    @app.command
    def meter(session: str) -> None:
        """What learning gained on the session's own messages: bits per byte, beside those of the frozen model.

        Parameters
        ----------
        session
            Session id.
        """
        from fastweights.services.session_meter import SessionMeter

        found = SessionMeter(service()).meter(session)
        output.current().emit(found, lambda: _describe_meter(found))

    @app.command
    def recall(session: str, *, probe: str, answer: str) -> None:
        """What of an answer the session still knew after each turn: bits per letter, by bytes since it was stated.

        Parameters
        ----------
        session
            Session id.
        probe
            The text before the answer.
        answer
            What is to come after it.
        """
        from fastweights.services.session_meter import SessionMeter

        asked = validate_given(RecallRequest, "recall", probe=probe, answer=answer)
        found = SessionMeter(service()).recall(session, asked)
        output.current().emit(found, lambda: _describe_recall(found))


def _describe_blame(b: "Blame") -> str:
    rows = ((t.turn, t.commit[:8], t.loss_before, t.loss_after, t.delta, t.exact_delta, t.summary) for t in b.turns)
    head = ("turn", "commit", "before", "after", "moved by", "without it", "message")
    line = f"{b.session_id}: {_nats(b.loss_initial)} nats/token at the start, {_nats(b.loss_head)} at the head"
    return f"{line}\n\n{output.table(rows, head)}" if b.turns else f"{line}; no turns yet"


def _describe_bisection(b: "Bisection") -> str:
    rows = ((s.turn, s.commit[:8], s.rise, "bad" if s.bad else "good") for s in b.steps)
    text = [f"{b.session_id}: {b.message}"]
    if b.steps:
        text.append(output.table(rows, ("turn", "commit", "rise", "")))
    if b.found is not None:
        f = b.found
        text.append(
            f"turn {f.turn} ({f.commit[:8]}): {f.summary}; rise {_nats(f.rise_before)} -> {_nats(f.rise_after)}"
        )
        head = ("", "chunk", "decision", "loss", "update", "canary delta", "drift", "text")
        text.append(output.table((_event_row(e, n == f.chunk) for n, e in enumerate(f.events)), head))
    return "\n\n".join(text)


def _event_row(e: "Event", did_it: bool) -> tuple[Any, ...]:
    figures = (e.chunk_index, e.decision, e.loss, e.update_norm, e.canary_delta, e.drift)
    return ("*" if did_it else "", *figures, " ".join(e.chunk_preview.split()))


def _describe_meter(m: "Meter") -> str:
    rows = (
        (t.turn, t.bytes, t.adapted, t.frozen, _gain(t.frozen, t.adapted), t.refused, t.state_bytes, t.summary)
        for t in m.turns
    )
    head = ("turn", "bytes", "adapted", "frozen", "gain", "refused", "state", "message")
    line = (
        f"{m.session_id}: {_nats(m.adapted)} bits/byte as it learned, {_nats(m.frozen)} frozen, {_nats(m.ppm)} PPM, "
        f"over {m.bytes} bytes; {m.committed} writes, {m.refused} refused; state {m.state_bytes} bytes"
    )
    return f"{line}\n\n{output.table(rows, head)}" if m.turns else f"{line}; no turns yet"


def _describe_recall(r: "Recall") -> str:
    rows = ((p.turn, p.bytes_read, p.stated, p.distance, p.bits_per_letter) for p in r.points)
    head = ("turn", "bytes read", "stated", "distance", "bits/letter")
    line = f"{r.session_id}: {r.letters} letters; frozen {_nats(r.frozen_bits_per_letter)} bits/letter, "
    return f"{line}{r.uniform:.2f} knowing nothing but the alphabet\n\n{output.table(rows, head)}"


def _gain(frozen: float | None, adapted: float | None) -> Any:
    return None if frozen is None or adapted is None else frozen - adapted


def _nats(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
