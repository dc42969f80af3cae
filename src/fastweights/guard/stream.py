"""Reading a stream of chunks through the guard: the loop that chat, monitor, meter and red team share."""

from collections.abc import Iterable, Iterator

from fastweights.core.learner import Learner
from fastweights.core.state import Chunk
from fastweights.guard.guard import Guard, Outcome
from fastweights.guard.state import Session


def read(guard: Guard, learner: Learner, session: Session, chunks: Iterable[Chunk]) -> Iterator[Outcome]:
    """Yield one outcome a chunk; ``outcome.session`` is where to go on from."""
    for chunk in chunks:
        outcome = guard.step(learner, session, chunk)
        session = outcome.session
        yield outcome
