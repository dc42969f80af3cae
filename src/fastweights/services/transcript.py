"""Turns as plain text, for the terminal. Torch-free."""

from fastweights.guard.event import Event
from fastweights.services.records import Turn


def describe_turn(turn: Turn) -> str:
    """The prompt, the reply, and a line on what was learned."""
    frozen = "" if turn.frozen_reply is None else f"\nfrozen  < {turn.frozen_reply}"
    return f"{turn.turn}  > {turn.prompt}\n   < {turn.reply}{frozen}\n   {describe_learning(turn)}"


def describe_learning(turn: Turn) -> str:
    """What the guard did with each chunk of the prompt, in one line; refusals with their reasons."""
    if not turn.learned:
        return "[frozen: nothing learned, nothing stored]"
    start = turn.events[0].token_start if turn.events else 0
    prompt = [event for event in turn.events if event.token_end - start <= turn.prompt_tokens]
    parts = _counts(prompt) + [f"{one} of the reply" for one in _counts(turn.events[len(prompt) :])]
    parts += [f"loss {before:.3f} -> {after:.3f} nats/token" for before, after in [_losses(prompt)] if before]
    if turn.drift is not None:
        parts.append(f"drift {turn.drift:+.3f}")
    reasons = sorted({reason for event in turn.events for reason in event.reasons})
    return f"[{'; '.join(parts)}]" + "".join(f"\n   refused: {reason}" for reason in reasons)


def _counts(events: list[Event]) -> list[str]:
    counts = {name: sum(e.decision == name for e in events) for name in ("committed", "blocked", "rolled_back")}
    return [f"{n} {name.replace('_', ' ')}" for name, n in counts.items() if n]


def _losses(events: list[Event]) -> tuple[float, float]:
    """Mean loss over the prompt's tokens before and after the writes (0 where nothing was finite)."""
    scored = [(e.loss, e.loss_after, e.token_end - e.token_start) for e in events]
    whole = [(before, after, n) for before, after, n in scored if before is not None and after is not None]
    tokens = sum(n for _, _, n in whole)
    if not tokens:
        return 0.0, 0.0
    return sum(b * n for b, _, n in whole) / tokens, sum(a * n for _, a, n in whole) / tokens
