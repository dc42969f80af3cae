"""Sleep by the clock: again and again, where sessions have learned something since. Torch-free at import."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Literal

from fastweights.errors import FastweightsError
from fastweights.services.sleep.candidates import Candidates
from fastweights.services.sleep.records import SleepManifest, SleepRequest
from fastweights.store.models import Models
from fastweights.store.root import Store
from fastweights.store.sessions import Sessions

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Of ``90s``, ``30m``, ``6h`` or ``1d``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if match is None or float(match[1]) <= 0:
        raise FastweightsError(f"every {text!r} is no time: give a number and a unit, e.g. 90s, 30m, 6h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def repeat(
    store: Store,
    request: SleepRequest,
    every: float,
    note: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[SleepManifest]:
    """Sleeps for ever, ``every`` seconds apart; what cannot be done now is said and tried again later."""
    from fastweights.services.sleep.consolidate import sleep

    seen = _slept_on(store, request)
    while True:
        heads = _heads(store, request)
        if heads and all(seen.get(session) == head for session, head in heads.items()):
            note("nothing was learned since the last sleep")
        else:
            try:
                yield sleep(store, request, note)
                seen = heads
            except FastweightsError as error:
                note(f"no sleep: {error}")
        wait(every)


def _heads(store: Store, request: SleepRequest) -> dict[str, str]:
    """{session: head} of those that the sleep would harvest."""
    metas = [meta for meta in Sessions(store, _kind(request)).list() if meta.model == _base(store, request)]
    return {
        meta.id: meta.head for meta in metas if meta.turns and (not request.sessions or meta.id in request.sessions)
    }


def _slept_on(store: Store, request: SleepRequest) -> dict[str, str]:
    """The same of the sessions that the latest candidate was made of, so that a clock that is started again waits."""
    candidates = Candidates(store)
    for one in candidates.list():
        if one.kind == _kind(request) and one.mode == request.mode and one.base_model_id == _base(store, request):
            manifest = candidates.show(one.model_id).manifest
            return {source.session_id: source.head for source in manifest.sources} if manifest else {}
    return {}


def _kind(request: SleepRequest) -> Literal["text", "nano"]:
    return "text" if request.nano is None else "nano"


def _base(store: Store, request: SleepRequest) -> str:
    return request.nano or Models(store).resolve(request.base_model_id)
