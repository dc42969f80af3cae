"""A training run in a store: manifest, log, checkpoints, stop and resume around :class:`Trainer`.

``text_models/<id>/``: ``manifest.json`` (status), ``config.json``, ``tokenizer.json``, ``train_log.jsonl``,
``ckpt/`` (to go on from), ``checkpoint.safetensors`` (the weights, once the run is done).
"""

import os
import time
from pathlib import Path
from typing import Any

import torch

from fastweights.clock import cpu_seconds
from fastweights.data.corpus import Corpus
from fastweights.data.tokenizer import Tokenizer
from fastweights.errors import Conflict, FastweightsError
from fastweights.models.device import threads_for
from fastweights.models.scoring import Cancelled
from fastweights.store import atomic
from fastweights.store.locks import Locks
from fastweights.store.models import CHECKPOINT, MANIFEST, Models, in_a_model
from fastweights.store.models import ckpt_dir as recorded_ckpt_dir
from fastweights.store.root import ID, MODELS, Store
from fastweights.store.tensors import save_tensors
from fastweights.train.checkpoint import Checkpoint, checkpoint_owner, checkpoint_steps, save_checkpoint
from fastweights.train.config import TrainConfig
from fastweights.train.hooks import Hooks
from fastweights.train.trainer import Diverged, Trainer

LOG = "train_log.jsonl"


def train(
    config: TrainConfig,
    store: Store,
    *,
    model_id: str,
    corpus: Corpus,
    tokenizer: Tokenizer,
    resume: Checkpoint | None = None,
    preset: str | None = None,
    device: str = "cpu",
    ckpt_dir: Path | None = None,
    hooks: Hooks | None = None,
) -> dict[str, Any]:
    """Train ``model_id`` up to ``config.steps`` (from ``resume`` if given) and return its figures.

    ``status`` in the result is "ready", or "interrupted" if ``hooks.stop`` asked for an end: then the step at hand was
    finished and a checkpoint written. ``ckpt_dir``: where the user wants the checkpoints, if not in the model's folder;
    there is one from the start. Raises ``Conflict`` if the id exists (without ``resume``) or is in training, or if
    ``ckpt_dir`` is another model's; ``Diverged`` if the loss is not finite: the manifest then says "failed".
    """
    models = Models(store)
    folder = store.path(MODELS, model_id)
    exists = (folder / "manifest.json").exists()
    if exists and resume is None:
        raise Conflict(f"model {model_id!r} exists: choose another --model-id, or go on with --resume {model_id}")
    if not exists:
        models.check_free(model_id)
    place = ckpt_dir or folder / "ckpt"
    _check_place(place, folder, model_id, fresh=resume is None)
    trainer = Trainer(config, corpus, tokenizer, device)
    if resume is not None:
        trainer.restore(resume.tensors, resume.meta["trainer"])
        if trainer.step > config.steps:
            raise FastweightsError(
                f"steps {config.steps}: the checkpoint is at step {trainer.step}; give a larger --steps"
            )
        if trainer.step == config.steps and exists and models.get(model_id)["status"] == "ready":
            raise FastweightsError(f"steps {config.steps}: model {model_id!r} is there already; give a larger --steps")
    torch.set_num_threads(threads_for(sum(p.numel() for p in trainer.params), config.threads))
    manifest = _manifest(config, trainer, preset, ckpt_dir)
    if not exists:
        models.create(model_id, manifest)
    with Locks().hold(store.path(MODELS, model_id, "train.lock"), f"model {model_id!r}", "training it", 0):
        models.update(model_id, **manifest, status="training", error=None)
        run = _Run(trainer, models, model_id, place, preset, hooks or Hooks(), resume)
        try:
            return run.go()
        except KeyboardInterrupt:
            models.update(model_id, status="interrupted")
            raise
        except Exception as error:
            models.update(model_id, status="failed", error=" ".join(str(error).split())[:500])
            if isinstance(error, Diverged) and run.saved_at > 0:
                raise Diverged(f"{error}; the checkpoint of step {run.saved_at} stays") from None
            raise


def _check_place(place: Path, folder: Path, model_id: str, *, fresh: bool) -> None:
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


def _manifest(config: TrainConfig, trainer: Trainer, preset: str | None, ckpt_dir: Path | None) -> dict[str, Any]:
    corpus, tokenizer = trainer.corpus, trainer.tokenizer
    return {
        "kind": "tiny_lm",
        "params": sum(p.numel() for p in trainer.params),
        "step": trainer.step,
        "steps": config.steps,
        "val_bpb": None,
        "corpus": corpus_record(corpus),
        "seed": config.seed,
        "preset": preset,
        "train_config": config.model_dump(mode="json"),
        "tokenizer": {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size},
        "checkpoint_sha256": None,
        "cpu_seconds": 0.0,
        "parent": None,
        "ckpt_dir": str(ckpt_dir) if ckpt_dir else None,
    }


class _Run:
    """One process' part of a run, from where the trainer stands to the end or a stop."""

    def __init__(
        self,
        trainer: Trainer,
        models: Models,
        model_id: str,
        ckpt: Path,
        preset: str | None,
        hooks: Hooks,
        resume: Checkpoint | None,
    ) -> None:
        self.trainer, self.models, self.model_id, self.ckpt, self.hooks = trainer, models, model_id, ckpt, hooks
        self.config, self.preset = trainer.config, preset
        self.folder = models.path(model_id)
        self.cpu_before = float(resume.meta["run"]["cpu_seconds"]) if resume else 0.0
        self.saved_at = resume.step if resume else -1
        self.started = self.row_at = time.monotonic()
        self.first_step = self.row_step = trainer.step
        self.last: dict[str, Any] = {}
        atomic.write_json(self.folder / "config.json", trainer.model.config.model_dump(mode="json"))
        for place in {self.folder, self.ckpt}:
            atomic.ensure_dir(place)
            trainer.tokenizer.save(place / "tokenizer.json")
        rows: list[dict[str, Any]] = (
            [row for row in atomic.read_jsonl(self.folder / LOG) if row["step"] <= trainer.step] if resume else []
        )
        atomic.write_bytes(self.folder / LOG, b"".join(atomic.dump_json(row) + b"\n" for row in rows))
        self.logged_at = rows[-1]["step"] if rows else -1
        if self.logged_at == trainer.step:  # the checkpoint was written first
            trainer.start_row()

    def go(self) -> dict[str, Any]:
        trainer, config = self.trainer, self.config
        try:
            if trainer.step not in checkpoint_steps(self.ckpt):  # from the first moment there is one to go on from
                self._save()
            if trainer.step:
                self._duties()  # what a process that was stopped right after this step still owed
            while trainer.step < config.steps:
                trainer.advance()
                self.hooks.step(trainer.step)
                if reason := self.hooks.stop():
                    return self._interrupted(reason)
                self._duties()
            if self.saved_at != trainer.step:
                self._save()
            bpb = trainer.evaluate(None, self._stopping)
        except Cancelled:
            return self._interrupted(self.hooks.stop() or "stopped")
        if self.logged_at != trainer.step:
            self._row(bpb)
        return self._finish(bpb)

    def _duties(self) -> None:
        """Row, look at the held-out text, and checkpoint, as far as they are due after this step and not done yet.

        The last step's row waits for the last look."""
        config, done = self.config, self.trainer.step
        if done < config.steps and self.logged_at != done:
            look = done % config.eval_every == 0
            bpb = self.trainer.evaluate(config.eval_tokens, self._stopping) if look else None
            if look or done == 1 or done % config.log_every == 0:
                self._row(bpb)
        if done % config.save_every == 0 and self.saved_at != done:
            self._save()

    def _stopping(self) -> bool:
        return self.hooks.stop() is not None

    def _row(self, bpb: float | None) -> None:
        """Append a row to the log (its keys are those of ``TrainPoint``) and show it."""
        trainer, now = self.trainer, time.monotonic()
        tokens = (trainer.step - self.row_step) * self.config.batch_size * self.config.seq_len * self.config.accumulate
        loss, norm = trainer.row()
        pace = (now - self.started) / max(trainer.step - self.first_step, 1)
        self.last = {
            "step": trainer.step,
            "loss": loss,
            "val_bpb": bpb,
            "grad_norm": norm,
            "lr": trainer.lr,
            "tokens_per_s": tokens / max(now - self.row_at, 1e-9),
            "eta_s": pace * (self.config.steps - trainer.step),
            "cpu_seconds": self._cpu(),
        }
        self.row_at, self.row_step, self.logged_at = now, trainer.step, trainer.step
        atomic.append_jsonl(self.folder / LOG, [self.last])
        self.hooks.point({**self.last, "steps": self.config.steps})

    def _cpu(self) -> float:
        """CPU seconds of the run, the processes before this one included."""
        return self.cpu_before + cpu_seconds()

    def _save(self) -> None:
        tensors, state = self.trainer.state()
        corpus = self.trainer.corpus
        schedule = {"schedule_steps": self.config.schedule_steps or self.config.steps}
        meta = {"trainer": state, "run": {"config": {**self.config.model_dump(mode="json"), **schedule}}}
        run = {
            "model_id": self.model_id,
            "preset": self.preset,
            "corpus": corpus_record(corpus),
            "cpu_seconds": self._cpu(),
        }
        save_checkpoint(self.ckpt, self.trainer.step, tensors, meta, run)
        self.saved_at = self.trainer.step
        self.models.update(self.model_id, step=self.trainer.step, cpu_seconds=self._cpu())

    def _interrupted(self, reason: str) -> dict[str, Any]:
        if self.saved_at != self.trainer.step:
            self._save()
        self.models.update(self.model_id, status="interrupted")
        self.hooks.notice(
            f"{reason}: stopped after step {self.trainer.step}; go on with: fastweights train --resume {self.model_id}"
        )
        return self._result("interrupted", None)

    def _finish(self, bpb: float) -> dict[str, Any]:
        with self.trainer.averaged() as model:
            sha = save_tensors(self.folder / CHECKPOINT, dict(model.state_dict()))
        self.models.update(
            self.model_id,
            status="ready",
            step=self.trainer.step,
            val_bpb=bpb,
            checkpoint_sha256=sha,
            cpu_seconds=self._cpu(),
        )
        return self._result("ready", bpb)

    def _result(self, status: str, bpb: float | None) -> dict[str, Any]:
        return {
            "model_id": self.model_id,
            "status": status,
            "step": self.trainer.step,
            "steps": self.config.steps,
            "loss": self.last.get("loss"),
            "val_bpb": bpb,
            "val_bytes": self.trainer.corpus.val_bytes,
            "params": sum(p.numel() for p in self.trainer.params),
            "folder": str(self.folder),
            "ckpt": str(self.ckpt),
            "cpu_seconds": cpu_seconds(),
            "seconds": time.monotonic() - self.started,
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
