"""Nano without sessions: base models, single runs and the evaluation. Torch loads when a model does.

A base model is ``base/<mode>/{base_checkpoint.safetensors, base_meta.json}``; a run is ``nano_runs/<id>/{request.json,
per_step.csv, update_events.json, summary.json, plot.png}``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from fastweights.clock import cpu_seconds
from fastweights.data.physics import MODES, Mode
from fastweights.errors import Corrupt, NotFound
from fastweights.evals.nano_records import TUNED_ON, NanoEvaluation
from fastweights.guard.event import Event
from fastweights.models.nano_config import DEFAULT_RULE, RULES, NanoConfig, NanoLearning, NanoPretrain
from fastweights.services.nano.plot import NO_PLOTS, can_plot, curves_png
from fastweights.services.nano.records import NanoBase, NanoEvalRequest, NanoRun, NanoRunRequest, NanoUpdate
from fastweights.services.nano.rows import per_step_csv
from fastweights.store import atomic
from fastweights.store.nano_candidates import NanoCandidates
from fastweights.store.nano_files import (
    BASE,
    CHECKPOINT,
    META,
    NANO_RUNS,
    PER_STEP,
    PLOT,
    REQUEST,
    SUMMARY,
    UPDATES,
)
from fastweights.store.root import Store, new_id, now
from fastweights.store.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from fastweights.evals.nano import Run
    from fastweights.models.nano import NanoSSM

_LAST = 100

Note = Callable[[str], None]


class LoadedBase(NamedTuple):
    model: NanoSSM
    record: NanoBase


class NanoService:
    """The base models and single runs of a store."""

    def __init__(self, store: Store, note: Note = lambda _: None) -> None:
        self.store, self.note = store, note
        self.candidates = NanoCandidates(store)

    # ------------------------------------------------------------------ base models

    def base_record(self, mode: Mode) -> NanoBase:
        """What is known of the base model; :class:`NotFound` if there is none yet."""
        path = self.store.path(BASE, self.candidates.current(mode), META)
        if not path.is_file():
            raise NotFound(f"no base model for mode {mode!r}: `fastweights nano pretrain --mode {mode}` makes one")
        try:
            return NanoBase.model_validate(atomic.read_json(path))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise Corrupt(
                f"{str(path)!r}: {where}: {first['msg']}; `fastweights nano pretrain` makes it anew"
            ) from None

    def base(self, mode: Mode) -> LoadedBase:
        """The base model of that mode, checked: the sleep candidate approved last, else the one that was trained; the
        first call trains it (about a second)."""
        import torch

        from fastweights.models.nano import NanoSSM, shapes_of

        try:
            record = self.base_record(mode)
        except NotFound:
            self.note(f"no base model for mode {mode} yet: pretraining one")
            record = self.pretrain(mode)
        expect = {name: (shape, torch.float32) for name, shape in shapes_of(record.config).items()}
        try:
            file = self.store.path(BASE, self.candidates.current(mode), CHECKPOINT)
            tensors, _ = load_tensors(file, record.checkpoint_sha256, expect)
        except (NotFound, Corrupt) as error:
            raise Corrupt(f"{error}; `fastweights nano pretrain --mode {mode}` makes it anew") from None
        return LoadedBase(NanoSSM(record.config, tensors), record)

    def pretrain(self, mode: Mode, how: NanoPretrain | None = None, config: NanoConfig | None = None) -> NanoBase:
        """Trains and stores a base model in place of the one there may be."""
        from fastweights.models.device import set_threads
        from fastweights.models.nano import A_RAW
        from fastweights.train.nano import pretrain

        set_threads()
        how, config, started = how or NanoPretrain(), config or NanoConfig(), time.process_time()
        found = pretrain(mode, config, how)
        frozen = found.weights[A_RAW].numel()
        record = NanoBase(
            mode=mode,
            config=config,
            pretrain=how,
            train_mse=found.mse,
            plastic_parameters=sum(w.numel() for w in found.weights.values()) - frozen,
            frozen_parameters=frozen,
            checkpoint_sha256=save_tensors(self.store.path(BASE, mode, CHECKPOINT), found.weights),
            created_at=now(),
            pretrain_cpu_seconds=time.process_time() - started,
        )
        atomic.write_json(self.store.path(BASE, mode, META), record.model_dump())
        return record

    # ------------------------------------------------------------------ one run

    def run(self, request: NanoRunRequest, *, plot: bool = True) -> NanoRun:
        """Reads one trajectory, and keeps all of it under ``nano_runs/``."""
        from fastweights.evals.nano import gap_closed, run
        from fastweights.models.device import set_threads
        from fastweights.models.nano_reader import NanoReader

        set_threads()
        base, created = self.base(request.mode), now()
        reader = NanoReader(base.model, request.learning)
        started = time.process_time()
        found = run(reader, request.mode, request.seed, request.steps, request.noise, request.mu)
        steps, figures = found.reading.steps, found.figures
        run_id = new_id("nano")
        self._keep(run_id, request, found)
        spent = time.process_time() - started
        names = [REQUEST, PER_STEP, UPDATES, SUMMARY]
        rule = request.learning.rule
        notes = [f"rule {rule} does not look at {name}" for name in request.learning.idle]
        if plot and can_plot():
            title = f"{request.mode} world, mu = {figures.mu:.3f}, rule {rule}"
            atomic.write_bytes(self.store.path(NANO_RUNS, run_id) / PLOT, curves_png(steps, found.refit, title))
            names.append(PLOT)
        elif plot:
            notes.append(NO_PLOTS)
        gap = figures.frozen_mse - figures.oracle_mse
        record = NanoRun(
            **dict(figures),
            run_id=run_id,
            request=request,
            gap_closed=gap_closed(steps.baseline, steps.adaptive, steps.oracle) if gap > 0 else None,
            last_100_frozen_mse=float(steps.baseline[-_LAST:].mean()),
            last_100_adaptive_mse=float(steps.adaptive[-_LAST:].mean()),
            base_sha256=base.record.checkpoint_sha256,
            steps_per_cpu_second=request.steps / max(spent, 1e-9),
            cpu_seconds=cpu_seconds(),
            created_at=created,
            files=[str(self.store.path(NANO_RUNS, run_id) / name) for name in names],
            notes=notes,
        )
        atomic.write_json(self.store.path(NANO_RUNS, run_id, SUMMARY), record.model_dump())
        return record

    def _keep(self, run_id: str, request: NanoRunRequest, found: Run) -> None:
        folder = self.store.path(NANO_RUNS, run_id)
        atomic.ensure_dir(folder)
        atomic.write_json(folder / REQUEST, request.model_dump())
        atomic.write_bytes(folder / PER_STEP, per_step_csv(found.reading.steps), durable=False)
        updates = [update_record(write.t, write.event) for write in found.reading.writes]
        atomic.write_bytes(folder / UPDATES, atomic.dump_json([u.model_dump() for u in updates]), durable=False)

    # ------------------------------------------------------------------ evaluation

    def evaluate(self, request: NanoEvalRequest) -> NanoEvaluation:
        """Every rule in every mode, over the same seeds."""
        from fastweights.evals.nano import score
        from fastweights.models.device import set_threads

        set_threads()
        modes = MODES if request.mode is None else (request.mode,)
        bases: dict[Mode, LoadedBase] = {mode: self.base(mode) for mode in modes}
        worlds = range(request.seed, request.seed + request.seeds)
        scores = []
        for rule in RULES if request.rule is None else (request.rule,):
            for mode in modes:
                self.note(f"{rule}, {mode}: {request.seeds} worlds of {request.steps} steps")
                learning = NanoLearning(rule=rule)
                scores.append(
                    score(bases[mode].model, learning, mode, worlds, steps=request.steps, noise=request.noise)
                )
        return NanoEvaluation(
            default_rule=DEFAULT_RULE,
            steps=request.steps,
            noise=request.noise,
            first_seed=request.seed,
            seeds=request.seeds,
            tuned_on=TUNED_ON,
            scores=scores,
            base={mode: base.record.checkpoint_sha256 for mode, base in bases.items()},
            cpu_seconds=cpu_seconds(),
        )


def update_record(t: int, event: Event) -> NanoUpdate:
    """An event of the guard as an entry of ``update_events.json``."""
    numbers = {check.check: check.numbers for check in event.checks}
    regression, state = numbers.get("loss_regression", {}), numbers.get("state_bound", {})
    return NanoUpdate(
        t=t,
        status=event.decision,
        reasons=event.reasons,
        pre_loss=regression.get("pre", event.loss),
        post_loss=regression.get("post"),
        grad_norm=event.grad_norm,
        pre_max_h=state.get("pre"),
        post_max_h=state.get("post"),
        attempted_update_norm=event.attempted_update_norm,
        update_norm=event.update_norm,
        projected_fraction=event.projected_fraction,
        canary_delta=event.canary_delta,
        drift=event.drift,
    )
