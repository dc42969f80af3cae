"""``fastweights up``: serve the API and the dashboard on one port."""

import os
import signal
from typing import Annotated

from cyclopts import App, Parameter

from fastweights.cli import output

app = App(name="up", help="Serve the API and the dashboard on one port.")

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 13579
HOSTS = ("FASTWEIGHTS_HOST", "NANO_API_HOST", "DASHBOARD_HOST")
PORTS = ("FASTWEIGHTS_PORT", "NANO_API_PORT", "DASHBOARD_PORT")


@app.default
def up(
    *,
    host: str | None = None,
    port: int | None = None,
    api_only: bool = False,
    token: str | None = None,
    browser: Annotated[bool, Parameter(negative="--no-browser")] = False,
) -> None:
    """Serve the API and the dashboard on one port, until Ctrl-C or SIGTERM. The first start makes a demo store.

    Parameters
    ----------
    host
        Address to listen on (default: FASTWEIGHTS_HOST, else 127.0.0.1). One that others can reach needs a token.
    port
        Port (default: FASTWEIGHTS_PORT, else 13579); 0 takes a free one.
    api_only
        No dashboard.
    token
        Every request must bring it (default: FASTWEIGHTS_TOKEN, else none).
    browser
        Open the page in a browser.
    """
    from fastweights.server.deps import Settings
    from fastweights.server.gate import Access
    from fastweights.server.run import bind, is_loopback, occupant, serve, url_of
    from fastweights.server.web import WEB
    from fastweights.services import demo

    shared = output.current()
    host = host or _environment(HOSTS) or DEFAULT_HOST
    number = _port(port)
    token = token if token is not None else os.environ.get("FASTWEIGHTS_TOKEN") or None
    if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token and token):
        raise output.UsageError("--token must be printable ASCII without spaces around it")
    if not is_loopback(host) and token is None:
        raise output.UsageError(f"--host {host} can be reached by others: give --token SECRET, or use {DEFAULT_HOST}")
    store = shared.store()
    there = occupant(host, number, store.root, token) if number else None
    if there is not None and there.same:
        shared.emit(
            {"status": "already running", "url": url_of(host, number, token), "root": str(store.root)}, there.text
        )
        return
    if there is not None:
        raise _Taken(there.text)
    if demo.wanted(store):
        shared.notice(f"first start: making a demo store in {store.root}")
        missing = demo.make(store)
        if missing:
            shared.notice(f"notice: no demo session: {missing}")
    listener = bind(host, number)
    number = listener.getsockname()[1]
    url = url_of(host, number, token)
    web = None if api_only else WEB
    if web is not None and not (web / "index.html").is_file():
        shared.notice("notice: the dashboard is not built (npm -C dashboard run build); the API works, see /docs")

    def started() -> None:
        record = {
            "status": "serving",
            "url": url,
            "host": host,
            "port": number,
            "root": str(store.root),
            "pid": os.getpid(),
        }
        shared.emit(record, f"Fastweights is serving at {url} (store {store.root}; Ctrl-C stops it)")
        if browser:
            import webbrowser

            webbrowser.open(url)

    hosts = tuple(h for h in os.environ.get("FASTWEIGHTS_ALLOWED_HOSTS", "").replace(",", " ").split() if h)
    settings = Settings(root=store.root, access=Access(host, token, hosts), web=web)
    if serve(settings, listener, started) == signal.SIGINT:
        raise output.Exit(output.INTERRUPTED)


class _Taken(output.UsageError):
    """The port is someone else's: the call was right, the work failed."""

    exit_code = output.FAILED


def _environment(names: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _port(given: int | None) -> int:
    text = str(given) if given is not None else _environment(PORTS) or str(DEFAULT_PORT)
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise output.UsageError(f"port {text!r} is not a port: give --port or FASTWEIGHTS_PORT a number up to 65535")
    return int(text)
