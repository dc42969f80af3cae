"""Reading a stream of chunks through the guard: the loop that chat, monitor, meter and red team share."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from fastweights.core.learner import Learner
from fastweights.core.state import Chunk
from fastweights.guard.canaries import largest_rise
from fastweights.guard.guard import Guard, Outcome
from fastweights.guard.state import Session


def read(
    guard: Guard, learner: Learner, session: Session, chunks: Iterable[Chunk], *, write: bool = True
) -> Iterator[Outcome]:
    """Yield one outcome a chunk; ``outcome.session`` is where to go on from.

    Without ``write`` everything is measured and judged as if it would be written, and nothing is: each chunk meets the
    weights of the start; the event's canary figures and sum are those of the attempted write, its drift is 0.
    """
    for chunk in chunks:
        outcome = guard.step(learner, session, chunk)
        if not write:
            outcome = _unwritten(session, outcome)
        session = outcome.session
        yield outcome


def _unwritten(before: Session, outcome: Outcome) -> Outcome:
    """The reader goes on; weights, rule state and all that the guard remembers of writes stay."""
    fast = replace(
        outcome.session.fast, weights=before.fast.weights, rule=before.fast.rule, step=before.fast.step
    )  # the carry advances alike, whether a write was made or refused
    seen = outcome.session.guard
    guard = replace(before.guard, chunks=seen.chunks, tokens=seen.tokens, tail=seen.tail)
    event = outcome.event.model_copy(
        update={"update_norm": 0.0, "step": fast.step, "drift": largest_rise(guard.current, guard.origin)}
    )
    return Outcome(Session(fast, guard), event, False, outcome.evidence)
