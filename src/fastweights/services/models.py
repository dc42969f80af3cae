"""Models as a user sees them: list, show, take in from a folder, give out to a folder."""

import builtins
import os
import shutil
from pathlib import Path
from typing import Any

from fastweights.errors import Conflict, Corrupt, FastweightsError, NotFound
from fastweights.services.records import ModelInfo
from fastweights.services.update_rules import has_own_rule
from fastweights.store import atomic
from fastweights.store.models import CHECKPOINT, MANIFEST, WHOLE, Models, check_fields
from fastweights.store.sessions import Sessions
from fastweights.store.sleep_files import SLEEP_MANIFEST

REQUIRED = ("config.json", "tokenizer.json", CHECKPOINT)
LOG = "train_log.jsonl"


class ModelService:
    """The models of one store. Torch is imported only to check a model that comes in."""

    def __init__(self, models: Models) -> None:
        self.models = models

    def list(self) -> list[ModelInfo]:
        """Every model, newest first, the shipped starter last; :meth:`damaged` names those left out."""
        return [self._info(manifest) for manifest in self.models.list()]

    def damaged(self) -> dict[str, str]:
        """{id: one-line error} of the models that cannot be listed."""
        return self.models.damaged()

    def show(self, model_id: str) -> ModelInfo:
        """One model; ``NotFound`` if there is none of that id."""
        return self._info(self.models.get(model_id))

    def export(self, model_id: str, folder: Path) -> Path:
        """Copy what makes up the model into ``folder``, which must not exist yet; :meth:`import_` takes it in again."""
        model_id = self.models.resolve(model_id)
        source = self.models.path(model_id)
        if folder.exists():
            raise Conflict(f"folder {folder} exists already; name one that does not")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temp = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            temp.mkdir()
            for name in (*REQUIRED, LOG, SLEEP_MANIFEST, MANIFEST):
                if (source / name).is_file():
                    shutil.copyfile(source / name, temp / name)
            temp.rename(folder)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        return folder

    def import_(self, folder: Path, model_id: str | None = None) -> ModelInfo:
        """Check a model's folder (every tensor, the SHA-256) and copy it into the store, as ``model_id`` or its own id.

        ``Corrupt`` or ``NotFound`` name the file that is wrong, ``Conflict`` an id that is taken.
        """
        from fastweights.models.registry import load_model

        if not (folder / MANIFEST).is_file():
            raise NotFound(f"folder {folder} holds no model: {MANIFEST} is missing; give what 'models export' wrote")
        for name in REQUIRED:
            if not (folder / name).is_file() or (folder / name).is_symlink():
                raise Corrupt(f"folder {folder} holds no whole model: {name} is missing; export it again")
        manifest = atomic.read_json(folder / MANIFEST)
        own = model_id or manifest.get("id")
        if not isinstance(own, str):
            raise FastweightsError(f"{folder / MANIFEST} has no id; give one with --model-id")
        self.models.check_free(own)
        check_fields(folder / MANIFEST, {**manifest, "id": own})
        if not manifest.get("checkpoint_sha256"):
            raise Corrupt(
                f"{folder / MANIFEST} has no checkpoint_sha256, so the weights cannot be checked; export it again"
            )
        load_model(folder)
        kept = {**manifest, "id": own, "ckpt_dir": None}
        if kept.get("status") not in WHOLE:
            kept["status"] = "ready"
        place = self.models.create(own, {**kept, "status": "training"})  # not usable before its files are there
        for name in (*REQUIRED, LOG, SLEEP_MANIFEST):
            if (folder / name).is_file():
                atomic.write_bytes(place / name, (folder / name).read_bytes())
        self.models.update(own, status=kept["status"])
        return self.show(own)

    def remove(self, model_id: str, *, force: bool = False) -> "builtins.list[str]":
        """Delete a model, or what is left of one; returns the ids of the sessions that now lack it.

        ``Conflict`` for the shipped starter, a model in training, and (without ``force``) one that sessions stand on.
        """
        self.models.check_deletable(model_id)
        users = sorted(m.id for m in Sessions(self.models.store).list() if m.model == model_id)
        if users and not force:
            some = ", ".join(users[:3]) + (", ..." if len(users) > 3 else "")
            raise Conflict(f"model {model_id!r} is what {len(users)} sessions stand on ({some}): --force removes it")
        self.models.delete(model_id)
        return users

    def _info(self, manifest: dict[str, Any]) -> ModelInfo:
        model_id = manifest["id"]
        file = self.models.path(model_id) / CHECKPOINT
        return ModelInfo(
            model_id=model_id,
            kind=manifest.get("kind", "tiny_lm"),
            status=manifest["status"],
            created_at=manifest["created_at"],
            params=manifest.get("params", 0),
            bytes=file.stat().st_size if file.is_file() else 0,
            step=manifest.get("step", 0),
            steps=manifest.get("steps", 0),
            val_bpb=manifest.get("val_bpb"),
            corpus=manifest.get("corpus") or {},
            tokenizer=manifest.get("tokenizer") or {},
            preset=manifest.get("preset"),
            seed=manifest.get("seed", 0),
            own_rule=has_own_rule(self.models, model_id),
            shipped=self.models.is_shipped(model_id),
            parent=manifest.get("parent"),
        )
