"""Every error is an RFC 9457 problem document; what a client did wrong is 4xx, and 5xx is our fault or the disk's."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound

MEDIA_TYPE = "application/problem+json"
TITLES = {  # spelt out: the standard library's phrases change between versions of Python, and with them the schema
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    500: "Internal Server Error",
}
log = logging.getLogger("fastweights.server")


class FieldError(BaseModel):
    """One wrong field of a request. ``field``: its path, as ``body.sampling.seed``."""

    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457. ``detail`` is one line that names the field, the value and the remedy."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(default_factory=list)


def problem(status: int, detail: str, errors: list[FieldError] | None = None) -> Problem:
    return Problem(title=TITLES.get(status, "Error"), status=status, detail=detail, errors=errors or [])


def problem_response(value: Problem, headers: dict[str, str] | None = None) -> Response:
    # json.dumps escapes everything outside ASCII, so that a lone surrogate in a message cannot break the answer
    return Response(json.dumps(value.model_dump()), value.status, headers, MEDIA_TYPE)


def status_of(error: BaseException) -> int:
    """The HTTP status of an exception from the services."""
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, FastweightsError) and not isinstance(error, Corrupt):
        return 422
    return 500


def as_problem(error: BaseException) -> Problem:
    """Any exception as a problem; what was not foreseen is logged and not shown."""
    if isinstance(error, FastweightsError):
        return problem(status_of(error), str(error))
    log.error("unhandled error", exc_info=error)
    return problem(500, f"internal error ({type(error).__name__}); the server's log has the details")


def validation_problem(error: RequestValidationError) -> Problem:
    errors = [
        FieldError(field=".".join(str(part) for part in item["loc"])[:200], message=_message(item))
        for item in error.errors()[:20]
        if item["type"] != "default_factory_not_called"  # a default that rests on the field that is wrong
    ]
    first = errors[0] if errors else FieldError(field="request", message="is not valid")
    return problem(422, f"{first.field}: {first.message}", errors)


def _message(item: Mapping[str, Any]) -> str:
    why = item.get("ctx", {}).get("error") if item["type"] == "json_invalid" else None
    return f"not strict JSON: {why}"[:500] if why else str(item["msg"])[:500]


def install(app: FastAPI) -> None:
    """Handlers for everything that can be raised; :func:`fastweights.server.web.not_found` handles 404 itself."""

    async def known(_: Request, error: Exception) -> Response:
        return problem_response(as_problem(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(validation_problem(error))

    app.add_exception_handler(FastweightsError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, known)


def http_problem(error: HTTPException, request: Request) -> Response:
    """What the router itself refuses: a path or a method that is not there, a body that cannot be read."""
    detail = str(error.detail)
    if detail == TITLES.get(error.status_code):
        detail = f"{request.method} {request.url.path[:200]}: {detail.lower()}; /docs lists every path"
    return problem_response(problem(error.status_code, detail), dict(error.headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route: these statuses answer with a problem; always 400, 401, 403, 413, 421, 422."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = sorted({400, 401, 403, 413, 421, 422, *statuses})
    return {status: {"description": TITLES[status], "content": content} for status in every}
