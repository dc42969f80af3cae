"""Training jobs: each is a process of its own and outlives the server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.services.records import TrainJob, TrainPoint, TrainRequest

router = APIRouter(
    prefix="/api/text/train", tags=["training"], route_class=StrictJSONRoute, responses=documented(404, 409)
)
ModelId = Annotated[str, Path(pattern=ID_PATTERN)]
POLL_SECONDS = 0.3


@router.post("", status_code=202)
def train(body: TrainRequest, services: Use) -> TrainJob:
    """Start a training run, or with `resume` go on with one that was stopped."""
    return services.jobs.start(body)


@router.get("/jobs")
def jobs(services: Use) -> list[TrainJob]:
    """Every run of the store, newest first, those begun on the command line too."""
    return services.jobs.list()


@router.get("/{model_id}/status")
def status(model_id: ModelId, services: Use) -> TrainJob:
    """How a run stands."""
    return services.jobs.status(model_id)


@router.get("/{model_id}/metrics")
def metrics(
    model_id: ModelId, services: Use, after_step: Annotated[int, Query(ge=-1, le=2**62)] = -1
) -> list[TrainPoint]:
    """The rows of its log with a step above `after_step`."""
    return services.jobs.metrics(model_id, after_step)


@router.post("/{model_id}/cancel")
def cancel(model_id: ModelId, services: Use) -> TrainJob:
    """Stop a run after its step at hand; it keeps a checkpoint and can be resumed."""
    return services.jobs.cancel(model_id)


def _known(model_id: ModelId, services: Use) -> str:
    services.jobs.status(model_id)  # 404 before the stream begins
    return model_id


@router.get("/{model_id}/events", response_class=EventSourceResponse)
async def events(model_id: Annotated[str, Depends(_known)], services: Use) -> AsyncIterator[ServerSentEvent]:
    """As it happens: `point` (TrainPoint), `status` (TrainJob) on every change; ends after a final status."""
    after, shown = -1, None
    while True:
        job = await run_in_threadpool(services.jobs.status, model_id)  # before the rows: a final status misses none
        for point in await run_in_threadpool(services.jobs.metrics, model_id, after):
            after = point.step
            yield ServerSentEvent(event="point", data=point)
        state = (job.status, job.step, job.error)
        if state != shown:
            shown = state
            yield ServerSentEvent(event="status", data=job)
        if job.status not in ("queued", "running") or services.closing.is_set():
            return
        await asyncio.sleep(POLL_SECONDS)
