"""The door: Host and Origin, token, body size. Plain ASGI, so that streams pass through untouched."""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastweights.server.errors import problem, problem_response

MAX_BODY = 1 << 20
COOKIE = "fastweights_token"
VERSION_HEADER = "x-fastweights"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NEW_COOKIE = "fastweights.new_cookie"
_DRAIN_BYTES, _DRAIN_SECONDS = 256 << 20, 20.0


def is_loopback(host: str) -> bool:
    """Whether a bind address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Access:
    """Who may come in. ``host``: the bind address; ``token``: required by every request if set."""

    host: str = "127.0.0.1"
    token: str | None = None
    extra_hosts: tuple[str, ...] = ()
    _names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = {*_LOOPBACK, self.host.lower(), *(h.lower() for h in self.extra_hosts)}
        object.__setattr__(self, "_names", frozenset(names))

    def host_allowed(self, host: str | None) -> bool:
        """Names of this machine only: a page of another site that was re-bound to our address carries its own name.

        A server on all interfaces cannot know its names; there the token, which such a page has not, is the guard.
        """
        if host is None:
            return False
        if self.token is not None and self.host in ("0.0.0.0", "::"):
            return True
        return host in self._names

    def origin_allowed(self, origin: str, host: str | None) -> bool:
        """The page itself, or any page on a loopback name (the dashboard's development server)."""
        name = _hostname(origin)
        return name is not None and (name in _LOOPBACK or name == host)

    def token_matches(self, given: str | None) -> bool:
        return self.token is not None and given is not None and hmac.compare_digest(_digest(given), _digest(self.token))

    def cookie(self) -> str:
        """What the cookie holds: a digest, so that the token itself is not kept in the browser."""
        return _digest(f"cookie:{self.token}")


class Gate:
    """Checks every request before the application sees it."""

    def __init__(self, app: ASGIApp, access: Access, version: str) -> None:
        self.app, self.access, self.version = app, access, version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # there is no websocket route

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[VERSION_HEADER] = self.version
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
                headers.setdefault("x-frame-options", "DENY")
                if scope.get(_NEW_COOKIE):
                    cookie = f"{COOKIE}={self.access.cookie()}; HttpOnly; SameSite=strict; Path=/; Max-Age={30 * 86400}"
                    headers.append("set-cookie", cookie)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, reply)
            return
        body = await _read_body(headers, receive)
        if body is None:
            detail = f"the body is longer than {MAX_BODY} bytes: send less"
            await problem_response(problem(413, detail), {"connection": "close"})(scope, receive, reply)
            return
        await self.app(scope, _replay(body, receive) if body else receive, reply)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = _hostname(f"//{headers.get('host', '')}")
        if not self.access.host_allowed(host):
            detail = f"host {headers.get('host', '')[:100]!r} is not this server: use localhost, or give --host"
            return problem_response(problem(421, detail))
        origin = headers.get("origin")
        if origin is not None and not self.access.origin_allowed(origin, host):
            return problem_response(problem(403, f"origin {origin[:100]!r} may not use this server"))
        if origin is None and headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD"):
            return problem_response(problem(403, "a page of another site may not use this server"))
        return self._token_refusal(scope, headers) if self.access.token is not None else None

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        access = self.access
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return None  # a browser asks before it sends the token
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if any(access.token_matches(value) for key, value in query if key == "token"):
            scope[_NEW_COOKIE] = True
            if scope["path"].startswith("/api") or scope["method"] not in ("GET", "HEAD"):
                return None
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            path = "/" + scope["path"].lstrip("/")  # never //host
            return RedirectResponse(path + (f"?{rest}" if rest else ""), 303)  # out of the address bar
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and access.token_matches(bearer.strip()):
            return None
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        if cookie is not None and hmac.compare_digest(_digest(cookie), _digest(access.cookie())):
            return None
        detail = "this server wants its token: open the URL with ?token=..., or send 'Authorization: Bearer ...'"
        return problem_response(problem(401, detail), {"www-authenticate": "Bearer"})


async def _read_body(headers: Headers, receive: Receive) -> list[Message] | None:
    """The request's body messages, at most ``MAX_BODY`` bytes in all; None if it is longer.

    What is too long is still read (up to a bound) and thrown away: a client that is busy sending cannot see the answer.
    """
    length = headers.get("content-length", "0")
    if length == "0" and "transfer-encoding" not in headers:
        return []
    too_long = length.isdigit() and int(length) > MAX_BODY
    messages: list[Message] = []
    size, until = 0, time.monotonic() + _DRAIN_SECONDS
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        too_long = too_long or size > MAX_BODY
        if too_long:
            messages.clear()
        else:
            messages.append(message)
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return None if too_long else messages
        if too_long and (size > _DRAIN_BYTES or time.monotonic() > until):
            return None


def _replay(messages: Iterable[Message], receive: Receive) -> Receive:
    rest = iter(messages)

    async def next_message() -> Message:
        message = next(rest, None)
        return await receive() if message is None else message

    return next_message


def _hostname(url: str) -> str | None:
    try:
        name = urlsplit(url).hostname
        urlsplit(url).port  # noqa: B018  (raises for a port that is no number)
    except ValueError:
        return None
    return name.lower() if name else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
