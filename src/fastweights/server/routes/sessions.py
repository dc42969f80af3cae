"""Sessions: a model whose fast weights learn from what is said to it."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fastweights.server.deps import StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.routes.session_verbs import SessionId, add_verbs
from fastweights.server.schemas import ChatRequest, NewSession
from fastweights.server.streams import EventStream, in_thread
from fastweights.services.records import SessionDetail, SessionInfo, Turn

router = APIRouter(
    prefix="/api/text/sessions", tags=["sessions"], route_class=StrictJSONRoute, responses=documented(404, 409)
)


class ChatTurn(Turn):
    """A turn, and the session it belongs to."""

    session_id: str


@router.get("")
def sessions(services: Use) -> list[SessionInfo]:
    """Every session, last used first."""
    return services.chat.list()


@router.post("", status_code=201)
async def new_session(body: NewSession, services: Use) -> SessionInfo:
    """A session that has read nothing yet."""
    return await in_thread(services, lambda: services.chat.new(body.options(), body.session_id, spfw=body.spfw))


@router.get("/{session_id}")
def session(session_id: SessionId, services: Use) -> SessionDetail:
    """One session with its turns."""
    return services.chat.show(session_id)


@router.post("/{session_id}/chat")
async def chat(session_id: SessionId, body: ChatRequest, services: Use) -> ChatTurn:
    """Learn from a message through the guard, answer, commit: when this answers, the turn is durable.

    A session answers one message at a time; a second one gets 409.
    """

    def send() -> Turn:
        return services.chat.send(
            session_id,
            body.message,
            body.sampling(),
            frozen=body.frozen,
            compare=body.compare,
            cancelled=services.closing.is_set,
        )

    turn = await in_thread(services, send)
    return ChatTurn(**turn.model_dump(), session_id=session_id)


async def _stream(session_id: SessionId, body: ChatRequest, services: Use) -> EventStream:
    def work(on_event, cancelled):
        turn = services.chat.send(
            session_id,
            body.message,
            body.sampling(),
            frozen=body.frozen,
            compare=body.compare,
            on_event=on_event,
            cancelled=cancelled,
        )
        return ChatTurn(**turn.model_dump(), session_id=session_id)

    return await EventStream(services, work).begin()


@router.post("/{session_id}/chat/stream", response_class=EventSourceResponse)
async def chat_stream(stream: Annotated[EventStream, Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """The same as events: `chunk` (Event), `token` {text}, `frozen_token` {text}, then `done` (ChatTurn) or `error`.

    A client that goes away stops the reply: what was said until then is committed with stopped="cancelled".
    """
    async for event in stream:
        yield event


add_verbs(router, lambda services: services.chat, SessionInfo)
