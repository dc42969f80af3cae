"""Models, and sampling from them."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.streams import EventStream, in_thread
from fastweights.services.records import GenerateRequest, Generation, ModelInfo

router = APIRouter(prefix="/api/text", tags=["models"], route_class=StrictJSONRoute, responses=documented(404, 409))
ModelId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get("/models")
def models(services: Use) -> list[ModelInfo]:
    """Every model, newest first; the starter that ships with the package is always there."""
    return [services.jobs.settled(info) for info in services.models.list()]


@router.get("/models/{model_id}")
def model(model_id: ModelId, services: Use) -> ModelInfo:
    """One model."""
    return services.jobs.settled(services.models.show(model_id))


@router.post("/generate")
async def generate(body: GenerateRequest, services: Use) -> Generation:
    """Continue a text with a frozen model."""
    return await in_thread(services, lambda: services.generate.generate(body, cancelled=services.closing.is_set))


async def _stream(body: GenerateRequest, services: Use) -> EventStream:
    def work(on_event, cancelled):
        return services.generate.generate(body, lambda text: on_event("token", text), cancelled)

    return await EventStream(services, work).begin()


@router.post("/generate/stream", response_class=EventSourceResponse)
async def generate_stream(stream: Annotated[EventStream, Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """The same as events: `token` {text}, then `done` (Generation) or `error` (Problem)."""
    async for event in stream:
        yield event
