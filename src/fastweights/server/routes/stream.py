"""What streams through a TTT-E2E model have cost: reports of ``fastweights demo stream``."""

from fastapi import APIRouter

from fastweights.server.deps import StrictJSONRoute, Use
from fastweights.services.stream import reports as stream_reports
from fastweights.services.stream.records import StreamReport

router = APIRouter(prefix="/api/text", tags=["training"], route_class=StrictJSONRoute)


@router.get("/streams")
def streams(services: Use) -> list[StreamReport]:
    """Every report that the command has stored, newest first."""
    return stream_reports.reports(services.store)
