"""Nano's sessions, and the index of everything that the store holds."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fastweights.data.physics import Mode
from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.routes.session_verbs import Commit, OtherId, SessionId, add_verbs
from fastweights.server.streams import EventStream, in_thread
from fastweights.services.index import StoreIndex, store_index
from fastweights.services.nano.lab_records import NanoModelInfo, NanoSimulate, NanoSimulation, NanoTransactions
from fastweights.services.nano.records import NanoUpdate
from fastweights.services.nano.session_records import (
    MAX_ROWS,
    MAX_STEPS,
    NanoRows,
    NanoSession,
    NanoSessionDetail,
    NanoSessionRun,
    NanoSteps,
    NanoWeights,
    NewNanoSession,
)

router = APIRouter(prefix="/api", tags=["nano"], route_class=StrictJSONRoute, responses=documented(404, 409))
nano = APIRouter(prefix="/sessions", route_class=StrictJSONRoute)
lab = APIRouter(prefix="/nano", route_class=StrictJSONRoute)
RunId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get("/index", tags=["health"])
def index(services: Use) -> StoreIndex:
    """Models, base models of Nano, sessions of both kinds and runs, without what is inside."""
    return store_index(services.store)


@nano.get("")
def nano_sessions(services: Use) -> list[NanoSession]:
    """Every session of Nano, last used first."""
    return services.nano.list()


@nano.post("", status_code=201)
async def new_nano_session(body: NewNanoSession, services: Use) -> NanoSession:
    """A session that has read nothing. The first one of a mode trains the base model (about a second)."""
    return await in_thread(services, lambda: services.nano.new(body.setting(), body.session_id))


@nano.get("/{session_id}")
def nano_session(session_id: SessionId, services: Use) -> NanoSessionDetail:
    """One session with the runs that its state has seen."""
    return services.nano.show(session_id)


@nano.post("/{session_id}/run")
async def run(session_id: SessionId, body: NanoSteps, services: Use) -> NanoSessionRun:
    """Go on in the session's world through the guard, and commit: when this answers, the run is durable.

    A session has one run at a time; a second one gets 409.
    """
    work = lambda: services.nano.run(session_id, body.steps, cancelled=services.closing.is_set)  # noqa: E731
    return await in_thread(services, work)


async def _stream(session_id: SessionId, body: NanoSteps, services: Use) -> EventStream:
    def work(on_event, cancelled):
        return services.nano.run(session_id, body.steps, on_event=on_event, cancelled=cancelled)

    return await EventStream(services, work).begin()


@nano.post("/{session_id}/run/stream", response_class=EventSourceResponse)
async def run_stream(stream: Annotated[EventStream, Depends(_stream)]) -> AsyncIterator[ServerSentEvent]:
    """The same as events: `steps` (NanoRows of a block), `update` (NanoUpdate), then `done` (NanoSessionRun) or
    `error`.

    A client that goes away ends the run: what was read until then is committed with stopped="cancelled".
    """
    async for event in stream:
        yield event


@nano.get("/{session_id}/runs/{run_id}/steps")
def steps(
    session_id: SessionId,
    run_id: RunId,
    services: Use,
    offset: Annotated[int, Query(ge=0, le=MAX_STEPS)] = 0,
    limit: Annotated[int, Query(ge=0, le=MAX_ROWS)] = MAX_ROWS,
) -> NanoRows:
    """What each step of a run cost, as columns: the three comparable curves, the oracle, the mean friction."""
    return services.nano.rows(session_id, run_id, offset, limit)


@nano.get("/{session_id}/runs/{run_id}/updates")
def updates(session_id: SessionId, run_id: RunId, services: Use) -> list[NanoUpdate]:
    """The transactions of a run, oldest first."""
    return services.nano.updates(session_id, run_id)


@nano.get("/{session_id}/updates")
async def transactions(
    session_id: SessionId,
    services: Use,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    limit: Annotated[int, Query(ge=0, le=MAX_ROWS)] = 1000,
) -> NanoTransactions:
    """The transactions of all runs that the session's state has seen, oldest first, each with a plain sentence."""
    from fastweights.services.nano.transactions import transactions as timeline

    return await in_thread(services, lambda: timeline(services.nano, session_id, offset, limit))


@nano.get("/{session_id}/weights")
async def weights(
    session_id: SessionId, services: Use, at: Commit | None = None, against: Commit | None = None
) -> NanoWeights:
    """The plastic matrices at a commit (head), beside the base model's and those of commit `against` (the parent)."""
    return await in_thread(services, lambda: services.nano.weights(session_id, at, against))


@lab.post("/simulate")
async def simulated(body: NanoSimulate, services: Use) -> NanoSimulation:
    """A world with any friction, read by the real model: every step's truth and predictions. Stores nothing.

    Without a session the base model of the mode reads it (the first call trains it, about a second).
    """
    from fastweights.services.nano.lab import simulate

    return await in_thread(services, lambda: simulate(services.nano, body))


@lab.get("/model")
async def model(
    services: Use, mode: Mode | None = None, session: OtherId | None = None, at: Commit | None = None
) -> NanoModelInfo:
    """The model described by itself: tensors, graph, decays. Of a session at a commit (its head), else the base."""
    from fastweights.services.nano.lab import describe

    return await in_thread(services, lambda: describe(services.nano, mode, session, at))


add_verbs(nano, lambda services: services.nano, NanoSession)
router.include_router(nano)
router.include_router(lab)
