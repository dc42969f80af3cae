"""A server on one port: who holds the port already, and a run that ends in order on SIGTERM and Ctrl-C."""

import asyncio
import http.client
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import psutil
import uvicorn

from fastweights.errors import FastweightsError
from fastweights.server.app import create_app
from fastweights.server.deps import Services, Settings
from fastweights.server.gate import VERSION_HEADER, is_loopback


@dataclass(frozen=True)
class Occupant:
    """What answers on a port. ``same``: a Fastweights server of this version and store. ``text`` names it."""

    same: bool
    text: str


def url_of(host: str, port: int, token: str | None = None) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}" + (f"/?token={quote(token, safe='')}" if token else "")


def occupant(host: str, port: int, root: Path, token: str | None) -> Occupant | None:
    """What listens on the port already, if anything does."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((name, port), timeout=2).close()
    except OSError:
        return None
    connection = http.client.HTTPConnection(name, port, timeout=5)
    health: dict[str, object] = {}
    mark: str | None = None
    try:
        connection.request("GET", "/api/health", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        mark = answer.getheader(VERSION_HEADER)
        with suppress(ValueError):
            value = json.loads(answer.read(1 << 16))
            health = value if isinstance(value, dict) else {}
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    who = _listener(port)
    if health.get("name") == "fastweights":
        mine = version("fastweights")
        if (health.get("root"), health.get("version")) == (str(root), mine):
            return Occupant(True, f"Fastweights is already running at {url_of(host, port, token)} (store {root}{who})")
        return Occupant(
            False,
            f"port {port} is held by a stale Fastweights server: version {health.get('version')} with store "
            f"{health.get('root')}{who}; this is version {mine} with store {root}: stop it, or give another --port",
        )
    if mark is not None:
        return Occupant(
            False,
            f"port {port} is held by a Fastweights server {mark} with a token{who}: stop it, or give another --port",
        )
    return Occupant(False, f"port {port} is held by another program{who}: stop it, or give another --port")


def _listener(port: int) -> str:
    """ ", pid 12 (name)" of who listens, as far as this user may see it."""
    with suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and getattr(c.laddr, "port", None) == port and c.pid:
                return f", pid {c.pid} ({psutil.Process(c.pid).name()})"
    return ""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; an error names the address and the remedy."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=256, reuse_port=False)
    except OSError as error:
        raise FastweightsError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): give another --host or --port"
        ) from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, services: Services, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._services, self._on_started = services, on_started
        self.stopped_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.closing.set()  # streams end, replies under way are committed as cancelled
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the process lives on and chooses its own exit code."""

        def stop(sig: int, frame: FrameType | None) -> None:
            self.stopped_by = sig
            self.handle_exit(sig, frame)

        before = {sig: signal.signal(sig, stop) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def serve(
    settings: Settings, listener: socket.socket, on_started: Callable[[], None], *, warm: bool = True
) -> int | None:
    """Serves until a signal; returns that signal. ``warm``: load torch and the default model in the background."""
    app = create_app(settings)
    services: Services = app.state.services
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=True, lifespan="on",
        timeout_graceful_shutdown=30, timeout_keep_alive=30, ws="none", proxy_headers=False,
    )  # fmt: skip
    server = _Server(config, services, on_started)
    if warm:
        # not a daemon: an interpreter that ends while a thread is inside C++ (torch being loaded) aborts
        threading.Thread(target=_warm, args=(services,), name="warm").start()
    asyncio.run(server.serve(sockets=[listener]))
    return server.stopped_by


def _warm(services: Services) -> None:
    with suppress(FastweightsError):
        services.chat.pool.open(None)


__all__ = ["Occupant", "bind", "is_loopback", "occupant", "serve", "url_of"]
