"""Which turns moved an answer, and which broke a canary. Reads a session's states; writes nothing."""

from __future__ import annotations

import math

from fastweights.errors import FastweightsError, NotFound
from fastweights.guard.event import Event
from fastweights.services.chat import ChatService
from fastweights.services.past import Figures, Past, Probed
from fastweights.services.past_records import (
    Bisection,
    BisectRequest,
    BisectStep,
    Blame,
    BlamedTurn,
    BlameRequest,
    BrokenTurn,
)


def blame(chats: ChatService, session_id: str, asked: BlameRequest) -> Blame:
    """The turns by how much they moved the loss of a probe, or of an answer to it.

    By default along the path, from the states as they are stored: one score a turn. ``asked.exact``: for the ``top`` of
    them also by leaving each out, which replays all turns after it.
    """
    past = Past.of(chats, session_id)
    probed = Probed(past.parts, asked.probe, asked.answer)
    losses = Figures(past, probed)
    turns = [
        BlamedTurn(
            turn=past.commit(at).turn,
            commit=past.commit(at).id,
            summary=past.summary(at),
            loss_before=losses[at - 1],
            loss_after=losses[at],
            delta=_difference(losses[at], losses[at - 1]),
            exact_delta=None,
        )
        for at in range(1, len(losses))
    ]
    turns.sort(key=lambda one: _size(one.delta))
    if asked.exact:
        exact = []
        for one in turns[: asked.top]:
            made = chats.without(past.meta, past.head, one.commit, True)
            other = probed(past.restore(made.state, dict(made.guard), f"state without turn {one.turn}"))
            exact.append(one.model_copy(update={"exact_delta": _difference(losses[len(losses) - 1], other)}))
        turns[: asked.top] = sorted(exact, key=lambda one: _size(one.exact_delta))
    return Blame(
        session_id=session_id,
        head=past.head.id,
        probe=asked.probe,
        answer=asked.answer,
        tokens=probed.tokens,
        loss_initial=losses[0],
        loss_head=losses[len(losses) - 1],
        turns=turns,
    )


def bisect(chats: ChatService, session_id: str, asked: BisectRequest) -> Bisection:
    """The turn across which a canary or a probe went bad, by binary search over the session's states."""
    past = Past.of(chats, session_id)
    losses, canary = _watched(past, asked)
    last = len(losses) - 1
    rise_head = _difference(losses[last], losses[0])
    threshold = asked.threshold if asked.threshold is not None else max(0.0, (rise_head or 0.0) / 2)
    steps: list[BisectStep] = []

    def bad(at: int) -> bool:
        rise = _difference(losses[at], losses[0])
        over = rise is None or rise > threshold
        steps.append(BisectStep(turn=past.commit(at).turn, commit=past.commit(at).id, rise=rise, bad=over))
        return over

    low, high, found = 0, last, None
    if last and bad(last):
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if bad(middle) else (middle, high)
        found = _broken(past, losses, high, canary, threshold)
    over = [_over(past, losses, at, canary, threshold) for at in range(last + 1)]
    monotone = over == sorted(over)
    what = "the probe" if canary is None else f"canary {canary!r}"
    return Bisection(
        session_id=session_id,
        head=past.head.id,
        canary=canary,
        probe=asked.probe,
        threshold=threshold,
        loss_initial=losses[0],
        rise_head=rise_head,
        monotone=monotone,
        found=found,
        message=_message(what, found, threshold, rise_head, [past.commit(n).turn for n, o in enumerate(over) if o]),
        steps=steps,
    )


def _watched(past: Past, asked: BisectRequest) -> tuple[Figures, str | None]:
    """(loss of each state, the canary's name); by default the canary that stands highest above its initial loss."""
    if asked.probe is not None:
        if asked.canary is not None:
            raise FastweightsError("give canary or probe, one of the two")
        return Figures(past, Probed(past.parts, asked.probe, asked.answer)), None
    if asked.answer is not None:
        raise FastweightsError("answer needs a probe that it answers")
    canaries, learner = past.parts.guard.canaries, past.parts.learner
    names = () if canaries is None else canaries.names
    if asked.canary is not None and asked.canary not in names:
        raise NotFound(f"no canary {asked.canary!r}: it is one of {', '.join(names) or 'none'}")
    if canaries is None or not names:
        raise FastweightsError("this session has no canaries: give a probe")
    name = asked.canary
    if name is None:
        first, head = (canaries.measure(learner, past.value(at).fast.weights).losses for at in (0, len(past.turns)))
        name = max(names, key=lambda one: _difference(head[one], first[one]) or -math.inf)

    def loss(value) -> float | None:
        found = canaries.measure(learner, value.fast.weights).losses[name]
        return found if math.isfinite(found) else None

    return Figures(past, loss), name


def _over(past: Past, losses: Figures, at: int, canary: str | None, threshold: float) -> bool:
    """Whether state ``at`` is bad; of a canary the guard's own record says it, where the state is a stored one."""
    if canary is not None and at and past.turns[at - 1].stored:
        guard = past.commit(at).guard
        now, then = (guard.get(field, {}).get(canary) for field in ("current", "origin"))
        if now is not None and then is not None:
            return now - then > threshold
    rise = _difference(losses[at], losses[0])
    return rise is None or rise > threshold


def _broken(past: Past, losses: Figures, at: int, canary: str | None, threshold: float) -> BrokenTurn:
    commit = past.commit(at)
    events = [Event.model_validate(one) for one in past.turns[at - 1].record.get("events", [])]
    return BrokenTurn(
        turn=commit.turn,
        commit=commit.id,
        summary=past.summary(at),
        rise_before=_difference(losses[at - 1], losses[0]),
        rise_after=_difference(losses[at], losses[0]),
        chunk=next((n for n, event in enumerate(events) if _lifted(event, canary, threshold)), None),
        events=events,
    )


def _lifted(event: Event, canary: str | None, threshold: float) -> bool:
    drift = next((one.drift for one in event.canaries if one.name == canary), None)
    return event.decision == "committed" and drift is not None and drift > threshold


def _message(what: str, found: BrokenTurn | None, threshold: float, rise: float | None, over: list[int]) -> str:
    limit = f"more than {threshold:.4g} nats per token above its loss at the start"
    if found is None:
        since = f", though it was after turn {', '.join(map(str, over[:8]))}" if over else ""
        stands = "" if rise is None else f" (it stands at {rise:+.4g})"
        return f"{what} is not {limit} at the head{stands}{since}"
    first, *_ = over or [found.turn]
    said = f"turn {found.turn} is the first after which {what} is {limit}"
    if first != found.turn:
        said = (
            f"turn {found.turn} is one across which {what} goes {limit}; it had done so at turn {first}, and came back"
        )
    return said


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _size(delta: float | None) -> float:
    """Largest first; what is not a number before all."""
    return -math.inf if delta is None else -abs(delta)
