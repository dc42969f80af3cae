"""Base models of Nano that a sleep has made: ``base/<id>/`` with ``base_checkpoint.safetensors``, ``base_meta.json``,
``sleep_manifest.json`` and, written last, ``sleep.json`` (status). Torch-free.

The base of a mode is the candidate that was approved last, of those that came from the ``base/<mode>/`` that is there
now; else that one itself, which is never touched.
"""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.index import folder_ids
from fastweights.store.locks import Locks
from fastweights.store.nano_files import BASE, CANDIDATE, META
from fastweights.store.root import Store, check_id

_STATUSES = ("sleep_candidate", "ready", "rejected")


class NanoCandidates:
    """The candidates among a store's base models of Nano."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._locks = Locks()

    def path(self, model_id: str) -> Path:
        return self.store.path(BASE, check_id("model", model_id))

    def list(self) -> list[dict[str, Any]]:
        """Their records; a damaged one is left out (``fsck`` names it)."""
        found = []
        for name in folder_ids(self.store, BASE):
            with suppress(FastweightsError):
                record = self.get(name)
                found += [] if record is None else [record]
        return found

    def get(self, model_id: str) -> dict[str, Any] | None:
        """The record; None if no sleep has made such a base."""
        path = self.store.path(BASE, check_id("model", model_id), CANDIDATE)
        try:
            record = atomic.read_json(path)
        except NotFound:
            return None
        whole = record.get("id") == model_id and record.get("status") in _STATUSES and isinstance(record["sleep"], dict)
        if not whole or not isinstance(record.get("created_at"), str):
            raise Corrupt(f"{str(path)!r} is not the record of a sleep candidate: restore it from a backup")
        return record

    def put(self, model_id: str, record: dict[str, Any]) -> None:
        """Makes a candidate of the files that are in its folder already."""
        atomic.write_json(self.store.path(BASE, check_id("model", model_id), CANDIDATE), {**record, "id": model_id})

    def update(self, model_id: str, *, only: Collection[str], **changes: Any) -> dict[str, Any]:
        """Changes fields, if its status is one of ``only``."""
        lock = self.store.path(BASE, model_id, "model.lock")
        with self._locks.hold(lock, f"model {model_id!r}", "updating it", 10):
            record = self.get(model_id)
            if record is None or record["status"] not in only:
                raise Conflict(f"model {model_id!r} does not stand where it did: look again")
            record |= changes
            self.put(model_id, record)
        return record

    def current(self, mode: str) -> str:
        """The id of the base that is in use for a mode."""
        with suppress(NotFound):
            root = atomic.read_json(self.store.path(BASE, mode, META)).get("checkpoint_sha256")
            approved = [one for one in self.list() if one["status"] == "ready" and one.get("mode") == mode]
            approved = [one for one in approved if one.get("root_sha256") == root]
            if approved:
                return max(approved, key=lambda one: (str(one["sleep"].get("decided_at")), one["id"]))["id"]
        return mode
