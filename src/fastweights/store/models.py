"""Model folders: ``text_models/<id>/`` with ``tokenizer.json``, ``config.json``, ``checkpoint.safetensors``,
``train_log.jsonl`` and ``manifest.json``. Torch-free. The starter that ships with the package resolves as ``starter``
in any store, an empty or missing one too.
"""

import shutil
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.store import atomic
from fastweights.store.index import cached_records
from fastweights.store.locks import Locks, process_alive, read_holder
from fastweights.store.root import MODELS, Store, check_id, now

STARTER = "starter"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint.safetensors"
STATUSES = ("training", "ready", "sleep_candidate", "rejected", "failed", "cancelled", "interrupted")
WHOLE = ("ready", "sleep_candidate", "rejected")
"""The statuses of a model that has weights."""
_TEXT = ("id", "status", "created_at")
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("kind",), (str,)),
    **dict.fromkeys(("preset", "checkpoint_sha256", "ckpt_dir", "error"), (str, type(None))),
    **dict.fromkeys(("params", "step", "steps", "seed"), (int,)),
    **dict.fromkeys(("val_bpb", "cpu_seconds"), (int, float, type(None))),
    **dict.fromkeys(("corpus", "tokenizer"), (dict, type(None))),
}  # where a manifest has them


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
        return read_manifest(self.path(model_id) / MANIFEST)

    def list(self) -> list[dict[str, Any]]:
        """Manifests, newest first, the shipped starter last; a damaged one is left out (``fsck`` names it)."""
        records, _ = self._records()
        rows = sorted(records.values(), key=lambda m: (m["created_at"], m["id"]), reverse=True)
        if STARTER not in records and (self.shipped / MANIFEST).is_file():
            rows.append(read_manifest(self.shipped / MANIFEST))
        return rows

    def damaged(self) -> dict[str, str]:
        """{id: one-line error} of the models that :meth:`list` leaves out."""
        return self._records()[1]

    def _records(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        records, broken = cached_records(self.store, MODELS, MANIFEST, read_manifest)
        for name in [*records]:  # the cache may be of a version that checked less
            try:
                check_fields(self.store.path(MODELS, name, MANIFEST), records[name])
            except Corrupt as error:
                broken[name] = str(error)
                del records[name]
        return records, broken

    def resolve(self, model_id: str | None) -> str:
        """The id to use: the given one if it has weights, or for ``None`` the latest that is ready, else ``starter``.

        Never a sleep candidate, nor a model without a tokenizer (kind "ids"), unless it is named.
        """
        if model_id is not None:
            manifest = self.get(model_id)
            if not (self.path(model_id) / CHECKPOINT).is_file():
                raise Conflict(
                    f"model {model_id!r} has no weights yet (status {manifest['status']!r}): finish its training"
                )
            return model_id
        for manifest in self.list():
            text = (manifest.get("tokenizer") or {}).get("kind") != "ids"
            if manifest["status"] == "ready" and text and (self.path(manifest["id"]) / CHECKPOINT).is_file():
                return manifest["id"]
        self.path(STARTER)
        return STARTER

    # ------------------------------------------------------------ writing

    def check_free(self, model_id: str) -> None:
        """Conflict if a new model cannot have this id: the shipped starter's stays what it is."""
        if check_id("model", model_id) == STARTER and (self.shipped / MANIFEST).is_file():
            raise Conflict(f"model id {STARTER!r} stands for the model that ships: give another --model-id")

    def create(self, model_id: str, manifest: Mapping[str, Any]) -> Path:
        """Makes the folder and its manifest (``status``: "training" unless given). Conflict if there is one."""
        self.check_free(model_id)
        folder = self.store.path(MODELS, model_id)
        atomic.ensure_dir(folder)
        with self._locks.hold(
            self.store.path(MODELS, model_id, "model.lock"), f"model {model_id!r}", "creating it", 10
        ):
            if (folder / MANIFEST).exists():
                raise Conflict(f"model {model_id!r} exists: choose another id, or resume it")
            self._write(model_id, {"status": "training", "created_at": now(), **manifest, "id": model_id})
        return folder

    def update(self, model_id: str, *, only: Collection[str] | None = None, **changes: Any) -> dict[str, Any]:
        """Changes fields of the manifest; returns the new one. ``only``: ``Conflict`` unless its status is one of
        these, looked at and changed in one."""
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
            manifest = self.get(model_id)
            if only is not None and manifest["status"] not in only:
                raise Conflict(f"model {model_id!r} has status {manifest['status']!r}: it must be {' or '.join(only)}")
            manifest |= changes
            self._write(model_id, manifest)
        return manifest

    def delete(self, model_id: str) -> None:
        """Removes the folder, whole or damaged: first out of sight in one rename, then file by file."""
        folder = self.check_deletable(model_id)
        trash = folder.parent / f"{atomic.TMP}trash-{model_id}-{now().replace(':', '')}"
        folder.rename(trash)
        atomic.fsync_dir(folder.parent)
        shutil.rmtree(trash)

    def check_deletable(self, model_id: str) -> Path:
        """The folder; NotFound if there is none, Conflict for the starter that ships and for a model in training."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        if not folder.is_dir():
            if self.is_shipped(model_id):
                raise Conflict(f"model {model_id!r} ships with the package and cannot be deleted")
            raise NotFound(f"no model {model_id!r}: `fastweights models ls` lists them")
        if writer := self.writer(model_id):
            raise Conflict(f"model {model_id!r} is being trained by process {writer}: cancel that first")
        return folder

    def writer(self, model_id: str) -> int | None:
        """The process that trains the model now, if there is one."""
        folder = self.store.path(MODELS, check_id("model", model_id))
        for info in (read_holder(folder / "train.lock"), read_holder(folder / "job.json")):
            if info and process_alive(info.get("pid"), info.get("create_time")):
                return info["pid"]
        return None

    def _write(self, model_id: str, manifest: Mapping[str, Any]) -> None:
        if manifest.get("status") not in STATUSES:
            raise FastweightsError(
                f"status {manifest.get('status')!r} of model {model_id!r} is not one of {', '.join(STATUSES)}"
            )
        atomic.write_json(self.store.path(MODELS, model_id, MANIFEST), dict(manifest))


def ckpt_dir(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Where the checkpoints of the model in ``folder`` are: in the folder that ``--ckpt-dir`` named, else its ``ckpt``.

    A name that leads into another model's folder (the store was copied) does not count.
    """
    own, named = folder / "ckpt", manifest.get("ckpt_dir")
    if not named or in_a_model(Path(named)):
        return own
    lost = not any(Path(named).glob("step-*.json")) and any(own.glob("step-*.json"))
    return own if lost else Path(named)


def in_a_model(place: Path) -> bool:
    """Whether ``place`` is a model's folder or lies right in one."""
    return (place / MANIFEST).is_file() or (place.parent / MANIFEST).is_file()


def check_fields(path: Path, manifest: Mapping[str, Any]) -> None:
    """``Corrupt`` names the field of the manifest at ``path`` that is missing or of a wrong type."""
    for field in _TEXT:
        if not isinstance(manifest.get(field), str):
            raise Corrupt(f"{str(path)!r} has no {field!r}: restore it from a backup")
    if manifest["status"] not in STATUSES:
        raise Corrupt(f"{str(path)!r}: status {manifest['status'][:80]!r} is not one of {', '.join(STATUSES)}")
    for field, types in _TYPES.items():
        value = manifest.get(field, types[0]())
        if not isinstance(value, types) or isinstance(value, bool):
            wanted = " or ".join("null" if t is type(None) else t.__name__ for t in types)
            raise Corrupt(f"{str(path)!r}: {field} is {value!r:.80}, not {wanted}: restore it from a backup")


def read_manifest(path: Path) -> dict[str, Any]:
    """A checked manifest; ``NotFound`` or ``Corrupt`` (one line, with the path)."""
    manifest = atomic.read_json(path)
    folder = path.parent.name
    check_fields(path, manifest)
    if manifest["id"] != folder:
        raise Corrupt(f"{str(path)!r} says id {manifest['id']!r} but lies in folder {folder!r}: rename the folder back")
    return manifest
