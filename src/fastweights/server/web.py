"""The built dashboard as static files: hashed assets are cached for good, pages never; pages inside are the index."""

import mimetypes
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from fastweights.server.errors import http_problem

WEB = Path(__file__).parents[1] / "_web"
IMMUTABLE = "public, max-age=31536000, immutable"

_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Fastweights</title>
<style>body{font:16px/1.5 system-ui;max-width:40rem;margin:4rem auto;padding:0 1rem;color-scheme:light dark}</style>
<h1>The dashboard is not built</h1>
<p>The API works: <a href="/docs">/docs</a>, <a href="/openapi.json">/openapi.json</a>.</p>
<p>To build the page (Node 20 or newer):
<code>npm -C dashboard ci &amp;&amp; npm -C dashboard run build</code></p></html>"""


def install(app: FastAPI, web: Path | None) -> None:
    """What no route answers: the dashboard's files for GET outside /api, a problem document for all else."""

    async def fallback(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        is_api = path == "/api" or path.startswith(("/api/", "/docs", "/openapi.json"))
        if error.status_code == 404 and web is not None and request.method in ("GET", "HEAD") and not is_api:
            found = await run_in_threadpool(page, web, path, request.headers.get("accept", "*/*"))
            if found is not None:
                return found
        return http_problem(error, request)

    app.add_exception_handler(HTTPException, fallback)


def page(web: Path, path: str, accept: str) -> Response | None:
    """The file at ``path``, ``index.html`` for a page inside the app, or None."""
    try:
        root = web.resolve()
        file = (root / path.lstrip("/")).resolve()
        inside = file.is_relative_to(root) and file.is_file()
    except (OSError, ValueError):
        return None
    if inside and file.name != "index.html":
        immutable = file.is_relative_to(root / "assets")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return FileResponse(file, media_type=kind, headers={"cache-control": IMMUTABLE if immutable else "no-cache"})
    if path.startswith("/assets/") or not ("text/html" in accept or "*/*" in accept):
        return None
    index = root / "index.html"
    if not index.is_file():
        return HTMLResponse(_MISSING, 404)
    return FileResponse(index, media_type="text/html", headers={"cache-control": "no-cache"})
