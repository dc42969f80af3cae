"""A training run in a store: manifest, log, checkpoints, stop and resume around :class:`Trainer`.

``text_models/<id>/``: ``manifest.json`` (status), ``config.json``, ``tokenizer.json``, ``train_log.jsonl``,
``ckpt/`` (to go on from), ``checkpoint.safetensors`` (the weights, once the run is done).
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
from fastweights.store.models import CHECKPOINT, MANIFEST, Models
from fastweights.store.root import MODELS, Store
from fastweights.store.tensors import save_tensors
from fastweights.train.checkpoint import Checkpoint, checkpoint_steps, save_checkpoint
from fastweights.train.config import TrainConfig
from fastweights.train.distributed import World, peers
from fastweights.train.hooks import Hooks
from fastweights.train.meta import MetaTrainer
from fastweights.train.places import check_place, corpus_record, manifest_of
from fastweights.train.throughput import Meter
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
    world: World | None = None,
) -> dict[str, Any]:
    """Train ``model_id`` up to ``config.steps`` (from ``resume`` if given) and return its figures.

    ``status`` in the result is "ready", or "interrupted" if ``hooks.stop`` asked for an end: then the step at hand was
    finished and a checkpoint written. A resumed model that is ready with nothing left to do stays as it is.
    ``ckpt_dir``: where the user wants the checkpoints, if not in the model's folder; there is one from the start.
    ``world``: the processes of the run, all of which call this; the first one writes. Raises ``Conflict`` if the id
    exists (without ``resume``) or is in training, or if ``ckpt_dir`` is another model's; ``Diverged`` if the loss is
    not finite: the manifest then says "failed".
    """
    world, models, hooks = world or World(device=torch.device(device)), Models(store), hooks or Hooks()
    folder = store.path(MODELS, model_id)
    place = ckpt_dir or folder / "ckpt"

    def door() -> str | None:
        """The status of the model, if there is one."""
        exists = (folder / "manifest.json").exists()
        if exists and resume is None:
            raise Conflict(f"model {model_id!r} exists: choose another --model-id, or go on with --resume {model_id}")
        if not exists:
            models.check_free(model_id)
        check_place(place, folder, model_id, fresh=resume is None)
        return models.get(model_id)["status"] if exists else None

    status = world.agree(door)
    trainer = (Trainer if config.meta is None else MetaTrainer)(config, corpus, tokenizer, world=world)
    torch.set_num_threads(threads_for(trainer.n_params, config.threads))
    if resume is not None:
        trainer.restore(resume.tensors, resume.meta["trainer"], resume.shards)
        if trainer.step > config.steps:
            raise FastweightsError(
                f"steps {config.steps}: the checkpoint is at step {trainer.step}; give a larger --steps"
            )
    manifest = manifest_of(trainer, preset, ckpt_dir)
    with ExitStack() as stack:
        done = status == "ready" and trainer.step == config.steps
        world.agree(lambda: stack.enter_context(_held(models, model_id, None if done else manifest)))
        run = _Run(trainer, models, model_id, place, preset, hooks, resume)
        if done:
            return run.result("ready", world.agree(lambda: models.get(model_id)["val_bpb"]))
        return _go(run, models, model_id)


@contextmanager
def _held(models: Models, model_id: str, manifest: dict[str, Any] | None) -> Iterator[None]:
    """The model in the store (made if it is new), locked; with ``manifest`` it is in training from here on."""
    folder = models.store.path(MODELS, model_id)
    if manifest is not None and not (folder / MANIFEST).exists():
        models.create(model_id, manifest)
    with Locks().hold(folder / "train.lock", f"model {model_id!r}", "training it", 0):
        if manifest is not None:
            models.update(model_id, **manifest, status="training", error=None)
        yield


def _go(run: "_Run", models: Models, model_id: str) -> dict[str, Any]:
    def settle(**changes: Any) -> None:
        if run.world.first:
            models.update(model_id, **changes)

    try:
        with peers(run.world):
            return run.go()
    except KeyboardInterrupt:
        settle(status="interrupted")
        raise
    except Exception as error:
        settle(status="failed", error=" ".join(str(error).split())[:500])
        if isinstance(error, Diverged) and run.saved_at > 0:
            raise Diverged(f"{error}; the checkpoint of step {run.saved_at} stays") from None
        raise


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
        self.config, self.preset, self.world = trainer.config, preset, trainer.world
        self.folder = models.store.path(MODELS, model_id)
        self.cpu_before = float(resume.meta["run"]["cpu_seconds"]) if resume else 0.0
        self.saved_at = resume.step if resume else -1
        self.resumed = resume.step if resume else None
        self.started = time.monotonic()
        self.meter = Meter(trainer)
        rows = self.world.agree(self._open)
        self.last: dict[str, Any] = rows[-1] if rows else {"loss": resume.meta["run"].get("loss") if resume else None}
        self.logged_at = self.last.get("step", -1)
        if self.logged_at == trainer.step:  # the checkpoint was written first
            trainer.start_row()

    def _open(self) -> list[dict[str, Any]]:
        """Write what does not change while the run goes on; the rows of the log that still count."""
        trainer = self.trainer
        config = trainer.model_config.model_dump(mode="json")
        atomic.write_json(self.folder / "config.json", config)
        for place in {self.folder, self.ckpt}:
            atomic.ensure_dir(place)
            trainer.tokenizer.save(place / "tokenizer.json")
        rows = [] if self.resumed is None else atomic.read_jsonl(self.folder / LOG)
        rows = [row for row in rows if row["step"] <= trainer.step]
        atomic.write_bytes(self.folder / LOG, b"".join(atomic.dump_json(row) + b"\n" for row in rows))
        return rows

    def go(self) -> dict[str, Any]:
        trainer, config = self.trainer, self.config
        try:
            if not self.world.agree(lambda: trainer.step in checkpoint_steps(self.ckpt)):
                self._save()  # from the first moment there is one to go on from
            if trainer.step:
                self._duties()  # what a process that was stopped right after this step still owed
            while trainer.step < config.steps:
                trainer.advance()
                self.hooks.step(trainer.step)
                if reason := self._stop():
                    return self._interrupted(reason)
                self._duties()
            if self.saved_at != trainer.step:
                self._save()
            bpb = trainer.evaluate(None, self._stopping)
        except Cancelled:
            return self._interrupted(self._stop() or "stopped")
        if self.logged_at != trainer.step and trainer.since_row:
            self._row(bpb)
        return self._finish(bpb)

    def _duties(self) -> None:
        """Row, look at the held-out text, and checkpoint, as far as they are due after this step and not done yet.

        The last step's row waits for the last look."""
        config, done = self.config, self.trainer.step
        if done < config.steps and self.logged_at != done and self.trainer.since_row:
            look = done % config.eval_every == 0 or (done == 1 and self.trainer.first_look)
            bpb = self.trainer.evaluate(config.eval_tokens, self._stopping) if look else None
            if look or done == 1 or done % config.log_every == 0:
                self._row(bpb)
        if done % config.save_every == 0 and self.saved_at != done:
            self._save()

    def _stop(self) -> str | None:
        """Why to end, if any process was asked to."""
        reason = self.hooks.stop()
        return (reason or "another process was stopped") if self.world.total(float(reason is not None)) else None

    def _stopping(self) -> bool:
        return self._stop() is not None

    def _row(self, bpb: float | None) -> None:
        """Append a row to the log (its keys are those of ``TrainPoint``) and show it."""
        trainer = self.trainer
        loss, norm = trainer.row()
        self.logged_at = trainer.step
        pace = self.meter.read()
        self.last = {
            "step": trainer.step,
            "loss": loss,
            "val_bpb": bpb,
            "grad_norm": norm,
            "lr": trainer.lr,
            "tokens_per_s": pace.tokens_per_s,
            "mfu": pace.mfu,
            "eta_s": pace.seconds_a_step * (self.config.steps - trainer.step),
            "cpu_seconds": self._cpu(),
            **trainer.extras(),
        }
        if self.world.first:
            atomic.append_jsonl(self.folder / LOG, [self.last])
            self.hooks.point({**self.last, "steps": self.config.steps})

    def _cpu(self) -> float:
        """CPU seconds of the run, of all its processes, those before this one included."""
        return self.cpu_before + self.world.total(cpu_seconds())

    def _save(self) -> None:
        tensors, state = self.trainer.state()
        corpus = self.trainer.corpus
        schedule = {"schedule_steps": self.config.schedule_steps or self.config.steps}
        meta = {"trainer": state, "run": {"config": {**self.config.model_dump(mode="json"), **schedule}}}
        cpu = self._cpu()
        run = {
            "model_id": self.model_id,
            "preset": self.preset,
            "corpus": corpus_record(corpus),
            "cpu_seconds": cpu,
            "strategy": self.world.strategy,
            "loss": self.last["loss"],
        }
        if self.world.sharded:
            from fastweights.train.shards import save_shards

            save_shards(self.world, self.ckpt, self.trainer.step, tensors, meta, run)
        else:
            save_checkpoint(self.ckpt, self.trainer.step, tensors, meta, run)
        self.saved_at = self.trainer.step
        self._update(step=self.trainer.step, cpu_seconds=cpu)

    def _update(self, **changes: Any) -> None:
        if self.world.first:
            self.models.update(self.model_id, **changes)

    def _interrupted(self, reason: str) -> dict[str, Any]:
        if self.saved_at != self.trainer.step:
            self._save()
        self._update(status="interrupted")
        self.hooks.notice(
            f"{reason}: stopped after step {self.trainer.step}; go on with: fastweights train --resume {self.model_id}"
        )
        return self.result("interrupted", None)

    def _finish(self, bpb: float) -> dict[str, Any]:
        tensors, cpu = self.trainer.export(), self._cpu()
        if tensors is not None:
            sha = save_tensors(self.folder / CHECKPOINT, tensors)
            done = {"status": "ready", "step": self.trainer.step, "val_bpb": bpb}
            self._update(**done, checkpoint_sha256=sha, cpu_seconds=cpu)
        return self.result("ready", bpb)

    def result(self, status: str, bpb: float | None) -> dict[str, Any]:
        """The figures of the run; ``cpu_seconds``: of this part of it, all processes."""
        return {
            "model_id": self.model_id,
            "status": status,
            "step": self.trainer.step,
            "steps": self.config.steps,
            "resumed_step": self.resumed,
            "loss": self.last["loss"],
            "val_bpb": bpb,
            "val_bytes": self.trainer.corpus.val_bytes,
            "params": self.trainer.n_params,
            "params_sha256": self.trainer.params_sha256(),
            "strategy": self.world.strategy,
            "processes": self.world.size,
            "folder": str(self.folder),
            "ckpt": str(self.ckpt),
            "tokens_per_s": self.last.get("tokens_per_s"),
            "mfu": self.last.get("mfu"),
            "cpu_seconds": self.world.total(cpu_seconds()),
            "seconds": time.monotonic() - self.started,
        }
