"""Everything that a store holds in one answer, without what is inside. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fastweights.data.physics import MODES
from fastweights.errors import FastweightsError
from fastweights.services.models import ModelService
from fastweights.services.nano.records import NanoBase
from fastweights.services.nano.runs import NanoService
from fastweights.services.records import ModelInfo, Record
from fastweights.store import atomic
from fastweights.store.index import cached_records
from fastweights.store.models import Models
from fastweights.store.nano_files import NANO_RUNS, SUMMARY
from fastweights.store.root import Store
from fastweights.store.runs import Runs
from fastweights.store.sessions import Sessions

Kind = Literal["text", "nano"]
_KINDS: tuple[Kind, ...] = ("text", "nano")


class SessionRow(Record):
    """A session of any kind. ``n_turns``: turns or runs that its state has seen; ids are unique within a kind."""

    kind: Kind
    session_id: str
    model: str
    title: str
    n_turns: int
    head: str
    parent_session: str | None
    forked_from: str | None
    tags: dict[str, str]
    drift: float | None
    state_bytes: int
    created_at: str
    updated_at: str


class RunRow(Record):
    """A run that belongs to no session: ``text`` of the monitor, ``nano`` of ``nano run``."""

    kind: Kind
    run_id: str
    status: str
    title: str
    created_at: str


class StoreIndex(Record):
    """``models`` of text and ``bases`` of Nano, sessions last used first, runs newest first."""

    models: list[ModelInfo]
    bases: list[NanoBase]
    sessions: list[SessionRow]
    runs: list[RunRow]


def store_index(store: Store) -> StoreIndex:
    """What can be read; ``fsck`` names what is damaged."""
    sessions = [row for kind in _KINDS for row in _sessions(store, kind)]
    runs = [*_monitor_runs(store), *_nano_runs(store)]
    return StoreIndex(
        models=ModelService(Models(store)).list(),
        bases=[*_bases(NanoService(store))],
        sessions=sorted(sessions, key=lambda row: row.updated_at, reverse=True),
        runs=sorted(runs, key=lambda row: row.created_at, reverse=True),
    )


def _bases(service: NanoService) -> Iterator[NanoBase]:
    for mode in MODES:
        with suppress(FastweightsError):
            yield service.base_record(mode)


def _sessions(store: Store, kind: Kind) -> Iterator[SessionRow]:
    for meta in Sessions(store, kind).list():
        yield SessionRow(
            kind=kind,
            session_id=meta.id,
            model=meta.model,
            title=meta.title,
            n_turns=meta.turns,
            head=meta.head,
            parent_session=meta.parent_session,
            forked_from=meta.forked_from,
            tags=meta.tags,
            drift=meta.drift,
            state_bytes=meta.state_bytes,
            created_at=meta.created_at,
            updated_at=meta.updated_at,
        )


def _monitor_runs(store: Store) -> Iterator[RunRow]:
    for run in Runs(store).list():
        yield RunRow(
            kind="text",
            run_id=run["id"],
            status=run["status"],
            title=run["source"],
            created_at=run["created_at"],
        )


def _nano_runs(store: Store) -> Iterator[RunRow]:
    def read(path: Path) -> dict[str, Any]:
        record = atomic.read_json(path)
        asked = record.get("request") or {}
        learning = asked.get("learning") or {}
        title = f"{asked.get('mode')} world {asked.get('seed')}, {learning.get('rule')}, {asked.get('steps')} steps"
        return {"title": title, "created_at": str(record.get("created_at"))}

    found, _ = cached_records(store, NANO_RUNS, SUMMARY, read)
    for run_id, record in found.items():
        yield RunRow(kind="nano", run_id=run_id, status="done", **record)
