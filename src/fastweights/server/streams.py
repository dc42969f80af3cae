"""Work in a thread, its events as Server-Sent Events; the work learns when nobody listens any more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from fastapi.sse import ServerSentEvent
from pydantic import BaseModel

from fastweights.server.deps import Services
from fastweights.server.errors import as_problem

OnEvent = Callable[[str, Any], None]
Work = Callable[[OnEvent, Callable[[], bool]], BaseModel]


class EventStream:
    """Runs ``work(on_event, cancelled)`` in one of the services' threads.

    Awaiting :meth:`begin` raises what the work raised before its first event, so that a wrong request gets a proper
    status. Iterating yields ``<kind>`` events, then ``done`` with the result or ``error`` with a problem document.
    Leaving the iteration (a client that went away) makes ``cancelled()`` true.
    """

    def __init__(self, services: Services, work: Work) -> None:
        self._services, self._work = services, work
        self._queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._left = False
        self._first: tuple[str, Any] | None = None

    async def begin(self) -> "EventStream":
        loop = asyncio.get_running_loop()

        def put(kind: str, payload: Any) -> None:
            with suppress(RuntimeError):  # the loop is gone: nobody listens, and the work must not fail for it
                loop.call_soon_threadsafe(self._queue.put_nowait, (kind, payload))

        def run() -> None:
            try:
                put("done", self._work(put, self._cancelled))
            except BaseException as error:
                put("error", error)

        self._services.threads.submit(run)
        try:
            self._first = await self._queue.get()
        except asyncio.CancelledError:
            self._left = True
            raise
        if self._first[0] == "error":
            raise self._first[1]
        return self

    def _cancelled(self) -> bool:
        return self._left or self._services.closing.is_set()

    async def __aiter__(self) -> AsyncIterator[ServerSentEvent]:
        item = self._first
        try:
            while item is not None:
                kind, payload = item
                if kind == "error":
                    yield ServerSentEvent(event="error", data=as_problem(payload))
                    return
                data = {"text": payload} if isinstance(payload, str) else payload
                yield ServerSentEvent(event=kind, data=data)
                if kind == "done":
                    return
                item = await self._queue.get()
        finally:
            self._left = True


async def in_thread(services: Services, call: Callable[[], Any]) -> Any:
    """A long call in the services' own threads, so that it cannot starve the short ones."""
    return await asyncio.get_running_loop().run_in_executor(services.threads, call)
