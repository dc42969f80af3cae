"""Model folders: ``text_models/<id>/`` with ``tokenizer.json``, ``config.json``, ``checkpoint.safetensors``,
``train_log.jsonl`` and ``manifest.json``. Torch-free. The starter that ships with the package resolves as ``starter``
in any store, an empty or missing one too.
"""

import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.index import cached_records
from fastweights.store.locks import Locks
from fastweights.store.root import MODELS, Store, check_id, now

STARTER = "starter"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.safetensors"
STATUSES = ("training", "ready", "sleep_candidate", "failed", "cancelled", "interrupted")


def shipped_starter() -> Path:
    """The starter's folder in the installed package."""
    return Path(str(resources.files("fastweights.data"))) / "assets" / STARTER


class Models:
    """The models of a store. ``shipped`` is the folder of the starter (default: the package's)."""

    def __init__(self, store: Store, shipped: Path | None = None) -> None:
        self.store = store
        self.shipped = shipped_starter() if shipped is None else shipped
        self._locks = Locks()

    # ------------------------------------------------------------ reading

    def path(self, model_id: str) -> Path:
        """The model's folder; :class:`NotFound` if there is no such model."""
        own = self.store.path(MODELS, check_id("model", model_id))
        if self.store.path(MODELS, model_id, MANIFEST).is_file():
            return own
        if model_id == STARTER and (self.shipped / MANIFEST).is_file():
            return self.shipped
        if model_id == STARTER:
            raise NotFound(f"no starter model in {str(self.shipped)!r}: reinstall the package, or train one")
        raise NotFound(f"no model {model_id!r}: `fastweights models ls` lists them, `fastweights train` makes one")

    def is_shipped(self, model_id: str) -> bool:
        """Whether the id stands for the package's own folder (which is read-only)."""
        return self.path(model_id) == self.shipped

    def get(self, model_id: str) -> dict[str, Any]:
        """The manifest."""
        return _read_manifest(self.path(model_id) / MANIFEST)

    def list(self) -> list[dict[str, Any]]:
        """Manifests, newest first, the shipped starter last; a damaged one is left out (``fsck`` names it)."""
        records, _ = cached_records(self.store, MODELS, MANIFEST, _read_manifest)
        rows = sorted(records.values(), key=lambda m: (m["created_at"], m["id"]), reverse=True)
        if STARTER not in records and (self.shipped / MANIFEST).is_file():
            rows.append(_read_manifest(self.shipped / MANIFEST))
        return rows

    def resolve(self, model_id: str | None) -> str:
        """The id to use: the given one if it has weights, or for ``None`` the latest that is ready, else ``starter``.

        Never a sleep candidate unless it is named.
        """
        if model_id is not None:
            manifest = self.get(model_id)
            if not (self.path(model_id) / CHECKPOINT).is_file():
                raise Conflict(
                    f"model {model_id!r} has no weights yet (status {manifest['status']!r}): finish its training"
                )
            return model_id
        for manifest in self.list():
            if manifest["status"] == "ready" and (self.path(manifest["id"]) / CHECKPOINT).is_file():
                return manifest["id"]
        self.path(STARTER)
        return STARTER

    # ------------------------------------------------------------ writing

    def create(self, model_id: str, manifest: Mapping[str, Any]) -> Path:
        """Makes the folder and its manifest (``status``: "training" unless given). Conflict if there is one."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        atomic.ensure_dir(folder)
        with self._locks.hold(
            self.store.path(MODELS, model_id, "model.lock"), f"model {model_id!r}", "creating it", 10
        ):
            if (folder / MANIFEST).exists():
                raise Conflict(f"model {model_id!r} exists: choose another id, or resume it")
            self._write(model_id, {"status": "training", "created_at": now(), **manifest, "id": model_id})
        return folder

    def update(self, model_id: str, **changes: Any) -> dict[str, Any]:
        """Changes fields of the manifest; returns the new one."""
        folder = self.path(model_id)
        if folder == self.shipped:
            raise Conflict(
                f"model {model_id!r} ships with the package and is read-only: train or copy one under another id"
            )
        if changes.get("id", model_id) != model_id:
            raise FastweightsError(f"id of model {model_id!r} cannot change to {changes['id']!r}")
        with self._locks.hold(
            self.store.path(MODELS, model_id, "model.lock"), f"model {model_id!r}", "updating it", 10
        ):
            manifest = {**self.get(model_id), **changes}
            self._write(model_id, manifest)
        return manifest

    def delete(self, model_id: str) -> None:
        """Removes the folder: first out of sight in one rename, then file by file."""
        folder = self.path(model_id)
        if folder == self.shipped:
            raise Conflict(f"model {model_id!r} ships with the package and cannot be deleted")
        trash = folder.parent / f"{atomic.TMP}trash-{model_id}-{now().replace(':', '')}"
        folder.rename(trash)
        atomic.fsync_dir(folder.parent)
        shutil.rmtree(trash)

    def _write(self, model_id: str, manifest: Mapping[str, Any]) -> None:
        if manifest.get("status") not in STATUSES:
            raise FastweightsError(
                f"status {manifest.get('status')!r} of model {model_id!r} is not one of {', '.join(STATUSES)}"
            )
        atomic.write_json(self.store.path(MODELS, model_id, MANIFEST), dict(manifest))


def _read_manifest(path: Path) -> dict[str, Any]:
    manifest = atomic.read_json(path)
    folder = path.parent.name
    for field in ("id", "status", "created_at"):
        if not isinstance(manifest.get(field), str):
            raise Corrupt(f"{str(path)!r} has no {field!r}: restore it from a backup")
    if manifest["id"] != folder:
        raise Corrupt(f"{str(path)!r} says id {manifest['id']!r} but lies in folder {folder!r}: rename the folder back")
    return manifest
