"""Health, and what forms can choose from."""

from fastapi import APIRouter

from fastweights.server.deps import StrictJSONRoute, Use
from fastweights.server.errors import documented
from fastweights.server.schemas import CorpusInfo, Health, PresetInfo
from fastweights.services.policies import NamedPolicy, policy_rows

router = APIRouter(prefix="/api", tags=["health"], route_class=StrictJSONRoute, responses=documented())


@router.get("/health")
def health(services: Use) -> Health:
    """Whether the server answers, and which store it serves."""
    from importlib.metadata import version

    from fastweights.store.sessions import Sessions
    from fastweights.store.views import LAYOUTS

    return Health(
        version=version("fastweights"),
        root=str(services.store.root),
        models=len(services.models.list()),
        sessions=sum(len(Sessions(services.store, kind).list()) for kind in LAYOUTS),
        device=services.device,
    )


@router.get("/presets")
def presets() -> list[PresetInfo]:
    """The shipped training presets."""
    from fastweights.services.catalog import preset_rows

    return [PresetInfo.model_validate(row) for row in preset_rows()]


@router.get("/policies")
def policies() -> list[NamedPolicy]:
    """The guard policies that ship, with their content; `default` first."""
    return policy_rows()


@router.get("/corpora")
def corpora() -> list[CorpusInfo]:
    """The corpora that can be named: training_data (the server's working directory), tiny, shakespeare."""
    from fastweights.services.catalog import corpus_rows

    return [CorpusInfo.model_validate(row) for row in corpus_rows()]
