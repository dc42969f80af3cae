"""What a text session's past is asked over HTTP: blame, bisect, meter, recall. Nothing here writes."""

from typing import Any

from fastapi import APIRouter

from fastweights.server.deps import StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.routes.session_verbs import SessionId
from fastweights.server.streams import in_thread
from fastweights.services.past_records import (
    Bisection,
    BisectRequest,
    Blame,
    BlameRequest,
    Meter,
    Recall,
    RecallRequest,
)

router = APIRouter(
    prefix="/api/text/sessions", tags=["sessions"], route_class=StrictJSONRoute, responses=documented(404, 409)
)


@router.post("/{session_id}/blame", response_model=Blame)
async def blame(session_id: SessionId, body: BlameRequest, services: Use) -> Any:
    """Which turns moved the loss of a probe, or of an answer to it; `exact`: also by leaving the top ones out."""
    from fastweights.services.blame import blame

    return await in_thread(services, lambda: blame(services.chat, session_id, body))


@router.post("/{session_id}/bisect", response_model=Bisection)
async def bisect(session_id: SessionId, services: Use, body: BisectRequest | None = None) -> Any:
    """The turn across which a canary, or a probe, went bad."""
    from fastweights.services.blame import bisect

    return await in_thread(services, lambda: bisect(services.chat, session_id, body or BisectRequest()))


@router.get("/{session_id}/meter", response_model=Meter)
async def meter(session_id: SessionId, services: Use) -> Any:
    """What learning gained on the session's messages: bits per byte beside the frozen model's, chunk by chunk."""
    return await in_thread(services, lambda: services.session_meter.meter(session_id))


@router.post("/{session_id}/recall", response_model=Recall)
async def recall(session_id: SessionId, body: RecallRequest, services: Use) -> Any:
    """Bits per letter of an answer under each state of the session, by how many bytes ago it was stated."""
    return await in_thread(services, lambda: services.session_meter.recall(session_id, body))
