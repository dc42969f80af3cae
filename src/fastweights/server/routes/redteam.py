"""Red team runs, to look at. They take minutes and are started on the command line: ``fastweights redteam``."""

from typing import Annotated

from fastapi import APIRouter, Path

from fastweights.redteam.records import RedteamReport
from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.services.redteam import RedteamService, RedteamSummary

router = APIRouter(prefix="/api", tags=["redteam"], route_class=StrictJSONRoute, responses=documented(404))


@router.get("/redteam")
def runs(services: Use) -> list[RedteamSummary]:
    """Every finished run, newest first."""
    return RedteamService(services.store).list()


@router.get("/redteam/{run_id}")
def report(run_id: Annotated[str, Path(pattern=ID_PATTERN)], services: Use) -> RedteamReport:
    """One report: the JSON that the command prints."""
    return RedteamService(services.store).get(run_id)
