"""Red team runs: attacks on a model behind its guard. They take minutes, each in a process of its own."""

from typing import Annotated

from fastapi import APIRouter, Path

from fastweights.redteam.records import RedteamReport
from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.services.redteam import RedteamRequest, RedteamService, RedteamSummary

router = APIRouter(prefix="/api", tags=["redteam"], route_class=StrictJSONRoute, responses=documented(404, 409))
RunId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get("/redteam")
def runs(services: Use) -> list[RedteamSummary]:
    """Every run, newest first, those under way and those that ended without a report too."""
    return services.redteam.list()


@router.post("/redteam", status_code=202)
def start(body: RedteamRequest, services: Use) -> RedteamSummary:
    """Start a run, the same as the command's; it goes on if the server ends."""
    return services.redteam.start(body)


@router.get("/redteam/{run_id}")
def report(run_id: RunId, services: Use) -> RedteamReport:
    """One report: the JSON that the command prints."""
    return RedteamService(services.store).get(run_id)


@router.post("/redteam/{run_id}/cancel")
def cancel(run_id: RunId, services: Use) -> RedteamSummary:
    """End a run that is going on; what it had found is not kept."""
    return services.redteam.cancel(run_id)
