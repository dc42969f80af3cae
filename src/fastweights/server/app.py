"""The application: routes, errors, the door, the dashboard. No logic; torch is not imported until a model is needed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

from fastweights.server import errors, web
from fastweights.server.deps import Services, Settings
from fastweights.server.gate import Gate
from fastweights.server.routes import (
    health,
    models,
    monitor,
    nano,
    redteam,
    session_past,
    sessions,
    sleep,
    stream,
    train,
)

_LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application over one store. Nothing is read or written before the first request."""
    settings = settings or Settings()
    services = Services(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(services.open)
        yield
        await run_in_threadpool(services.close)

    app = FastAPI(
        title="Fastweights",
        version=version("fastweights"),
        description="A lab for language models whose weights learn while they read.",
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.services = services
    for module in (health, train, stream, models, sessions, session_past, monitor, redteam, nano, sleep):
        app.include_router(module.router)
    errors.install(app)
    web.install(app, settings.web)
    app.add_middleware(
        CORSMiddleware,
        allow_origin_regex=_LOOPBACK_ORIGIN,
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
    )
    app.add_middleware(Gate, access=settings.access, version=version("fastweights"))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, with the problem document that every error answer is."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        problem = errors.Problem.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        components.update(problem.pop("$defs", {}))
        components["Problem"] = problem
        for unused in ("HTTPValidationError", "ValidationError"):
            components.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema
