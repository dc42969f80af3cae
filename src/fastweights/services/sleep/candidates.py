"""Sleep candidates: list, look at the evidence, approve, reject, take that back. A decision is one write of a status;
no base is ever touched. Torch-free."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fastweights.errors import Conflict, Corrupt, NotFound
from fastweights.hints import describe
from fastweights.services.sleep.records import Decision, SleepCandidate, SleepEvidence, SleepManifest
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.nano_candidates import NanoCandidates
from fastweights.store.nano_files import BASE
from fastweights.store.root import MODELS, Store, now
from fastweights.store.sleep_files import SLEEP_MANIFEST

_FROM: dict[Decision, tuple[str, ...]] = {
    "approve": ("sleep_candidate",),
    "reject": ("sleep_candidate",),
    "revert": ("ready", "rejected"),
}
_TO: dict[Decision, str] = {"approve": "ready", "reject": "rejected", "revert": "sleep_candidate"}


class Candidates:
    """What sleeps have made in a store: text models and base models of Nano."""

    def __init__(self, store: Store) -> None:
        self.models, self.nano = Models(store), NanoCandidates(store)

    def list(self) -> list[SleepCandidate]:
        """Newest first, decided ones too."""
        records = [("text", m) for m in self.models.list() if m.get("sleep")] + [("nano", m) for m in self.nano.list()]
        rows = [_row(kind, record) for kind, record in records]
        return sorted(rows, key=lambda one: (one.created_at, one.model_id), reverse=True)

    def show(self, model_id: str) -> SleepEvidence:
        """A candidate and its evidence; :class:`NotFound` if no sleep has made it."""
        kind, record = self._find(model_id)
        folder = self.models.path(model_id) if kind == "text" else self.nano.path(model_id)
        path = folder / SLEEP_MANIFEST
        try:
            manifest = SleepManifest.model_validate(atomic.read_json(path))
        except ValidationError as error:
            raise Corrupt(f"{str(path)!r}: {describe(error)}; restore it from a backup, or sleep again") from None
        return SleepEvidence(candidate=_row(kind, record), manifest=manifest)

    def decide(self, model_id: str, decision: Decision) -> SleepCandidate:
        """approve: the latest usable model from now on; reject: kept, but never chosen; revert: undecided again.

        :class:`Conflict` where it stands otherwise than the decision is for.
        """
        kind, record = self._find(model_id)
        if record["status"] not in _FROM[decision]:
            wanted = " or ".join(_FROM[decision])
            raise Conflict(f"cannot {decision} {model_id!r}: its status is {record['status']}, it must be {wanted}")
        sleep = {**record["sleep"], "decided_at": None if decision == "revert" else now()}
        changes: dict[str, Any] = {"status": _TO[decision], "sleep": sleep}
        update = self.models.update if kind == "text" else self.nano.update
        return _row(kind, update(model_id, only=_FROM[decision], **changes))

    def _find(self, model_id: str) -> tuple[str, dict[str, Any]]:
        if (record := self.nano.get(model_id)) is not None:
            return "nano", record
        record = self.models.get(model_id)
        if not record.get("sleep"):
            raise NotFound(f"model {model_id!r} is no sleep candidate: `fastweights sleep ls` lists them")
        return "text", record


def check_free(models: Models, model_id: str) -> None:
    """:class:`Conflict` if a candidate cannot have this id."""
    models.check_free(model_id)
    for folder in (models.store.path(MODELS, model_id), models.store.path(BASE, model_id)):
        if folder.exists() and any(folder.iterdir()):
            raise Conflict(f"model {model_id!r} exists: choose another model-id")


def summary(manifest: SleepManifest) -> dict[str, Any]:
    """What a candidate's own record says under ``sleep``, so that a list need not read the evidence."""
    return {
        "mode": manifest.mode,
        "base_model_id": manifest.base_model_id,
        "retention": manifest.retention,
        "core_before": manifest.core_before,
        "core_after": manifest.core_after,
        "sessions": len(manifest.sources),
        "turns": sum(len(source.turns) for source in manifest.sources),
        "decided_at": None,
    }


def _row(kind: str, record: dict[str, Any]) -> SleepCandidate:
    try:
        return SleepCandidate.model_validate(
            {
                "stage": None,
                "error": None,
                **record["sleep"],
                "model_id": record["id"],
                "kind": kind,
                "status": record["status"],
                "created_at": record["created_at"],
            }
        )
    except (ValidationError, TypeError):
        raise Corrupt(f"model {record['id']!r}: what it says of its sleep cannot be read: restore a backup") from None
