"""Where a run keeps its files, and what a store's manifest says of it."""

import os
from pathlib import Path
from typing import Any

from fastweights.data.corpus import Corpus
from fastweights.errors import Conflict, FastweightsError
from fastweights.store.models import MANIFEST, Models, in_a_model
from fastweights.store.models import ckpt_dir as recorded_ckpt_dir
from fastweights.store.root import ID, MODELS, Store
from fastweights.train.checkpoint import checkpoint_owner, checkpoint_steps
from fastweights.train.trainer import Trainer


def check_place(place: Path, folder: Path, model_id: str, *, fresh: bool) -> None:
    """``Conflict`` if the folder for the checkpoints belongs to another model, or to an earlier run (``fresh``)."""
    if in_a_model(place) and place.resolve() != (folder / "ckpt").resolve():
        raise Conflict(f"ckpt-dir {place} lies in a model's folder; name another for model {model_id!r}")
    if steps := checkpoint_steps(place):
        owner = checkpoint_owner(place)
        if owner != model_id or fresh:
            raise Conflict(
                f"ckpt-dir {place} holds checkpoints of model {owner!r} (step {steps[0]}); name another for model "
                f"{model_id!r}, or go on with --resume"
            )


def corpus_record(corpus: Corpus) -> dict[str, Any]:
    """What a manifest says of a corpus. ``path``: what finds it again (absolute, or the name of a named corpus)."""
    path = Path(corpus.name)
    found = str(path.absolute()) if path.exists() else corpus.name
    return {"name": path.name, "path": found, "sha256": corpus.sha256, "bytes": corpus.n_bytes}


def manifest_of(trainer: Trainer, preset: str | None, ckpt_dir: Path | None) -> dict[str, Any]:
    """The manifest of a model that is about to be trained on."""
    config, tokenizer = trainer.config, trainer.tokenizer
    return {
        "kind": config.kind,
        "params": trainer.n_params,
        "step": trainer.step,
        "steps": config.steps,
        "val_bpb": None,
        "corpus": corpus_record(trainer.corpus),
        "seed": config.seed,
        "preset": preset,
        "train_config": config.model_dump(mode="json"),
        "tokenizer": {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size},
        "checkpoint_sha256": None,
        "cpu_seconds": 0.0,
        "parent": None,
        "ckpt_dir": str(ckpt_dir) if ckpt_dir else None,
        "strategy": trainer.world.strategy,
    }


def find_ckpt_dir(store: Store, resume: str) -> Path:
    """The checkpoint folder behind ``--resume``: a model's id, a checkpoint folder, or a model's folder."""
    path = Path(resume)
    if ID.fullmatch(resume) and store.path(MODELS, resume, MANIFEST).is_file():
        return recorded_ckpt_dir(store.path(MODELS, resume), Models(store).get(resume))
    if (path / "ckpt").is_dir():
        return path / "ckpt"
    if path.is_dir() and checkpoint_steps(path):
        return path
    if path.is_dir() and os.sep in resume:
        raise FastweightsError(f"resume {resume}: no checkpoint in this folder; name a model's id or its ckpt folder")
    return Models(store).path(resume) / "ckpt"
