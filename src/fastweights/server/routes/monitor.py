"""Monitor runs: a text through the guard, chunk by chunk."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.streams import EventStream, in_thread
from fastweights.services.monitor_records import MonitorEvent, MonitorRequest, MonitorRun, MonitorRunDetail

router = APIRouter(prefix="/api", tags=["monitor"], route_class=StrictJSONRoute, responses=documented(404, 409))
RunId = Annotated[str, Path(pattern=ID_PATTERN)]
POLL_SECONDS = 0.2


@router.get("/text/runs")
def runs(services: Use) -> list[MonitorRun]:
    """Every run, newest first, those of the command line too."""
    return services.monitor.list()


@router.post("/text/runs")
@router.post("/ttt/monitor")
async def monitor(body: MonitorRequest, services: Use) -> MonitorRunDetail:
    """Monitor a text or a demo; answers when it is read and the run is stored."""

    def work() -> MonitorRunDetail:
        run = services.monitor.run_request(body, cancelled=services.closing.is_set)
        return services.monitor.show(run.run_id)

    return await in_thread(services, work)


async def _stream(body: MonitorRequest, services: Use) -> EventStream:
    def work(on_event, cancelled):
        return services.monitor.run_request(body, lambda event: on_event("event", event), cancelled)

    return await EventStream(services, work).begin()


@router.post("/text/runs/stream", response_class=EventSourceResponse)
async def monitor_stream(stream: Annotated[EventStream, Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """The same as events: `event` (MonitorEvent) a chunk, then `done` (MonitorRun) or `error` (Problem).

    A client that goes away ends the run; what was read until then is stored as cancelled.
    """
    async for event in stream:
        yield event


@router.get("/text/runs/{run_id}")
def run(
    run_id: RunId,
    services: Use,
    after: Annotated[int, Query(ge=-1, le=2**62)] = -1,
    limit: Annotated[int, Query(ge=0, le=10_000)] = 10_000,
) -> MonitorRunDetail:
    """One run with its events (at most `limit`, those with a chunk index above `after`)."""
    return services.monitor.show(run_id, after, limit)


def _known(run_id: RunId, services: Use) -> str:
    services.monitor.get(run_id)  # 404 before the stream begins
    return run_id


@router.get("/text/runs/{run_id}/events", response_class=EventSourceResponse)
async def events(run_id: Annotated[str, Depends(_known)], services: Use) -> AsyncIterator[ServerSentEvent]:
    """Past events first, then live ones: `event` (MonitorEvent), at the end of the run `done` (MonitorRun)."""
    with services.monitor.follow(run_id) as follower:
        while True:
            run = await run_in_threadpool(services.monitor.get, run_id)  # before the events: a final status misses none
            while lines := await run_in_threadpool(follower.poll):
                for line in lines:
                    yield ServerSentEvent(event="event", data=MonitorEvent.model_validate_json(line))
            if run.status != "running" or services.closing.is_set():
                yield ServerSentEvent(event="done", data=run)
                return
            await asyncio.sleep(POLL_SECONDS)
