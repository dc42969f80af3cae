"""``bench store``: listing many sessions, with the index and without it, against reading every record by itself."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError
from fastweights.services.chat import ChatService
from fastweights.services.records import SessionInfo, SessionOptions
from fastweights.store import atomic
from fastweights.store.index import INDEX
from fastweights.store.meta import META
from fastweights.store.models import STARTER
from fastweights.store.root import Store


def bench_store(sessions: int = 5000, repeats: int = 5) -> dict[str, Any]:
    """Milliseconds (medians of ``repeats``, on the clock and of CPU) to list so many sessions of a temporary store.

    ``warm``: a process that lists for the first time, the index is there; ``cold``: it was deleted; ``again``: a
    process that has listed before; ``naive``: each session opened by its id. The sessions are copies of a real one
    under other ids. Raises :class:`FastweightsError` if the lists differ.
    """
    if sessions < 1 or repeats < 1:
        raise FastweightsError(f"bench store: sessions={sessions}, repeats={repeats}: give at least 1 of each")
    with tempfile.TemporaryDirectory() as folder:
        chats = ChatService(Store(folder))
        names = _fill(chats, sessions)
        index = chats.sessions.store.path(chats.sessions.folder, INDEX)

        def cold() -> list[SessionInfo]:
            index.unlink(missing_ok=True)
            return warm()

        def warm() -> list[SessionInfo]:
            return ChatService(Store(folder)).list()

        def naive() -> list[SessionInfo]:
            infos = [chats.info(chats.sessions.meta(name)) for name in names]
            return sorted(infos, key=lambda info: (info.updated_at, info.session_id), reverse=True)

        ways: dict[str, Callable[[], list[SessionInfo]]] = {
            "cold": cold,
            "warm": warm,
            "again": chats.list,
            "naive": naive,
        }
        lists = [way() for way in ways.values()]
        if any(found != lists[0] or len(found) != sessions for found in lists):
            raise FastweightsError("bench store: the listings differ; no speed to report")
        figures: dict[str, Any] = {"sessions": sessions, "index_bytes": index.stat().st_size}
        for name, way in ways.items():
            clock, cpu = _times(way, repeats)
            figures |= {f"{name}_ms": clock, f"{name}_cpu_ms": cpu}
    return {**figures, "ratio": figures["naive_cpu_ms"] / max(figures["warm_cpu_ms"], 1e-3)}


def _fill(chats: ChatService, count: int) -> list[str]:
    """One real session, and copies of its folder."""
    first = chats.new(SessionOptions(model=STARTER), "s00000").session_id
    source = chats.sessions.path(first)
    meta = atomic.read_json(source / META)
    names = [f"s{number:05d}" for number in range(count)]
    for name in names[1:]:
        place = Path(shutil.copytree(source, source.with_name(name)))
        (place / META).write_bytes(atomic.dump_json({**meta, "id": name}, indent=True) + b"\n")
    return names


def _times(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median milliseconds on the clock, and of CPU."""
    clock, cpu = [], []
    for _ in range(repeats):
        at, busy = time.perf_counter(), time.process_time()
        function()
        clock.append((time.perf_counter() - at) * 1e3)
        cpu.append((time.process_time() - busy) * 1e3)
    return statistics.median(clock), statistics.median(cpu)
