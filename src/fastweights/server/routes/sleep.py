"""Sleep: start one, look at candidates and their evidence, decide. Each sleep is a process of its own."""

from typing import Annotated

from fastapi import APIRouter, Path

from fastweights.server.deps import ID_PATTERN, StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.services.sleep.records import SleepCandidate, SleepEvidence, SleepRequest

router = APIRouter(prefix="/api/sleep", tags=["sleep"], route_class=StrictJSONRoute, responses=documented(404, 409))
ModelId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get("")
def candidates(services: Use) -> list[SleepCandidate]:
    """Every candidate, newest first, and the runs under way, and those that left none."""
    return services.sleep.list()


@router.post("", status_code=202)
def start(body: SleepRequest, services: Use) -> SleepCandidate:
    """Start a sleep, the same as the command's; it goes on if the server ends."""
    return services.sleep.start(body)


@router.get("/{model_id}")
def evidence(model_id: ModelId, services: Use) -> SleepEvidence:
    """One candidate with its evidence."""
    return services.sleep.show(model_id)


@router.post("/{model_id}/approve")
def approve(model_id: ModelId, services: Use) -> SleepCandidate:
    """From now on the latest usable model; sessions that there are keep theirs."""
    return services.sleep.candidates.decide(model_id, "approve")


@router.post("/{model_id}/reject")
def reject(model_id: ModelId, services: Use) -> SleepCandidate:
    """Never chosen by itself; its files stay until it is removed."""
    return services.sleep.candidates.decide(model_id, "reject")


@router.post("/{model_id}/revert")
def revert(model_id: ModelId, services: Use) -> SleepCandidate:
    """Take an approval or a rejection back."""
    return services.sleep.candidates.decide(model_id, "revert")


@router.post("/{model_id}/cancel")
def cancel(model_id: ModelId, services: Use) -> SleepCandidate:
    """End a run that is going on; nothing of it is kept."""
    return services.sleep.cancel(model_id)
