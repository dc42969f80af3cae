"""What the routes share: the services of one store, made when first needed, and the threads that do their work."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from fastweights.server.gate import Access
from fastweights.server.web import WEB
from fastweights.services.catalog import device_in_use
from fastweights.services.jobs import TrainJobs
from fastweights.services.models import ModelService
from fastweights.services.records import ID_PATTERN
from fastweights.services.redteam_jobs import RedteamJobs
from fastweights.services.sleep.jobs import SleepJobs
from fastweights.store.models import Models
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.services.chat import ChatService
    from fastweights.services.generate import GenerateService
    from fastweights.services.monitor import MonitorService
    from fastweights.services.nano.sessions import NanoSessionService
    from fastweights.services.session_meter import SessionMeter

__all__ = ["ID_PATTERN", "Services", "Settings", "StrictJSONRoute", "Use"]


@dataclass(frozen=True)
class Settings:
    """How a server runs. ``device`` None: as TEXT_LM_DEVICE says. ``web`` None: no dashboard (``--api-only``)."""

    root: Path | str | None = None
    access: Access = field(default_factory=Access)
    device: str | None = None
    web: Path | None = WEB


class Services:
    """One store's services. Torch loads with the first chat or sample, not with the server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.root)
        self.jobs = TrainJobs(self.store)
        self.redteam = RedteamJobs(self.store)
        self.sleep = SleepJobs(self.store)
        self.models = ModelService(Models(self.store))
        self.closing = threading.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    @cached_property
    def _made(self) -> "tuple[ChatService, GenerateService, MonitorService]":
        from fastweights.services.chat import ChatService
        from fastweights.services.generate import GenerateService, ModelPool
        from fastweights.services.monitor import MonitorService

        pool = ModelPool(self.store, self.settings.device)
        return (
            ChatService(self.store, pool=pool),
            GenerateService(self.store, pool=pool),
            MonitorService(self.store, pool=pool),
        )

    @property
    def chat(self) -> "ChatService":
        with self._lock:
            return self._made[0]

    @cached_property
    def session_meter(self) -> "SessionMeter":
        from fastweights.services.session_meter import SessionMeter

        return SessionMeter(self.chat)

    @property
    def generate(self) -> "GenerateService":
        with self._lock:
            return self._made[1]

    @property
    def monitor(self) -> "MonitorService":
        with self._lock:
            return self._made[2]

    @cached_property
    def nano(self) -> "NanoSessionService":
        from fastweights.services.nano.sessions import NanoSessionService

        return NanoSessionService(self.store)

    @property
    def device(self) -> str:
        """The device in use; as configured while torch is not loaded."""
        return device_in_use(self.settings.device)

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Where long work is done."""
        assert self._threads is not None, "the application has not been started"
        return self._threads

    def open(self) -> None:
        """Before the first request; a closed one can be opened again."""
        self.closing.clear()
        self._threads = ThreadPoolExecutor(max(4, os.cpu_count() or 1), thread_name_prefix="fastweights")
        self.jobs.adopt()

    def close(self) -> None:
        """Ends streams early (their replies are committed as cancelled), then waits for the work under way."""
        self.closing.set()
        self.threads.shutdown(wait=True, cancel_futures=True)


def _services(request: Request) -> Services:
    return request.app.state.services


Use = Annotated[Services, Depends(_services)]


class _StrictJSONRequest(Request):
    async def json(self) -> Any:
        """Strict JSON: no NaN, no Infinity, no lone surrogates (all of which Python's own parser lets through)."""
        import orjson

        return orjson.loads(await self.body())


class StrictJSONRoute(APIRoute):
    """A route whose body is strict JSON with values of the very types that are asked for ("3" is not 3); what is not
    gets a 422 before any service sees it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()
        wanted = self.body_field.field_info.annotation if self.body_field else None
        body: TypeAdapter[Any] | None = None if wanted is None else TypeAdapter(wanted)

        async def strict(request: Request) -> Any:
            request = _StrictJSONRequest(request.scope, request.receive)
            if body is not None and (data := await request.body()):
                _check_types(body, data)
            return await handler(request)

        return strict


def _check_types(body: TypeAdapter[Any], data: bytes) -> None:
    """Raises as FastAPI would; what is no JSON at all is left to its parser."""
    try:
        body.validate_json(data, strict=True)
    except ValidationError as error:
        errors = [e for e in error.errors(include_url=False) if e["type"] != "json_invalid"]
        if errors:
            raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in errors]) from None
