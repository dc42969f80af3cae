"""Sleep of Nano sessions: a candidate base model, ``base/<id>/``. Torch loads late."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastweights.data import physics
from fastweights.data.physics import Mode
from fastweights.errors import FastweightsError
from fastweights.services.nano import turn as nano_turn
from fastweights.services.nano.runs import NanoService
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.sleep.candidates import check_free, summary
from fastweights.services.sleep.measure import closed
from fastweights.services.sleep.records import (
    SleepForgetting,
    SleepManifest,
    SleepPart,
    SleepRequest,
    SleepRetention,
    SleepSource,
    SleepTurn,
    SleepWrite,
)
from fastweights.store import atomic
from fastweights.store.models import Models
from fastweights.store.nano_files import CHECKPOINT, META
from fastweights.store.root import Store, new_id, now
from fastweights.store.sleep_files import SLEEP_MANIFEST

if TYPE_CHECKING:
    from fastweights.core.state import Weights
    from fastweights.models.nano import NanoSSM
    from fastweights.train.nano_sleep import Worlds

_WORLDS, _STEPS, _MOST = 96, 512, 8192
_NOISE = 0.5  # of the worlds that a base is trained in
_SEEDS = (70_001, 70_002, 70_003)  # of the worlds that train, that bound, and that forgetting is measured on


def nano_sleep(store: Store, request: SleepRequest, note: Callable[[str], None] = lambda _: None) -> SleepManifest:
    """Consolidates the sessions of a mode. ``FastweightsError``: none of them has learned anything from this base."""
    from fastweights.models.nano import A_RAW, W_O
    from fastweights.store.tensors import save_tensors
    from fastweights.train.nano_sleep import consolidate, distilled, held_out, mse

    started, created, mode = time.process_time(), now(), request.nano
    assert mode is not None
    nano_turn.set_threads()
    model_id = request.model_id or new_id("sleep")
    check_free(Models(store), model_id)
    bases = NanoService(store, note)
    base = bases.base(mode)
    base_id, model = bases.candidates.current(mode), base.model
    taken, notes = _sessions(NanoSessionService(store, bases), mode, base.record.checkpoint_sha256, request.sessions)
    note(f"{len(taken)} sessions of {base_id}")
    core = held_out(model, mode, _WORLDS, _STEPS, _SEEDS[0] + request.seed, _NOISE)
    bounds, report = (
        {
            name: held_out(model, mode, _WORLDS, _STEPS, seed + request.seed, noise)
            for name, noise in (("worlds", 0.0), ("worlds with a random force", _NOISE))
        }
        for seed in _SEEDS[1:]
    )
    merged_OD = distilled(model, [(worlds, weights) for _, worlds, weights in taken], core, request.core_ratio)
    found, scale, events = consolidate(model, merged_OD, [*bounds.values()], request.max_core_rise)
    own = model.init_weights(1)
    retention, share = _retention(model, taken, own, found)
    lost = [
        SleepForgetting(name=name, kind="world", before=b, after=a, rise=a - b)
        for name, worlds in report.items()
        for b, a in ((mse(model, own, worlds), mse(model, found, worlds)),)
    ]
    if not scale:
        notes.append("no step towards the sessions was harmless: the candidate is its base")
    elif (worst := max(row.rise / row.before for row in lost)) > request.max_core_rise:
        notes.append(f"held-out worlds rose by {worst:.2%}, more than the {request.max_core_rise:.2%} asked for")
    mix = [sum(getattr(row, which) for row in retention) / len(retention) for which in ("base", "candidate")]
    change = merged_OD - own[W_O][0]
    folder = bases.candidates.path(model_id)
    atomic.ensure_dir(folder)
    sha = save_tensors(folder / CHECKPOINT, {**{name: w[0].clone() for name, w in found.items()}, A_RAW: model.a_raw})
    record = base.record.model_copy(update={"checkpoint_sha256": sha, "created_at": created})
    atomic.write_json(folder / META, record.model_dump())
    manifest = SleepManifest(
        model_id=model_id,
        kind="nano",
        mode="delta",
        base_model_id=base_id,
        base_sha256=base.record.checkpoint_sha256,
        checkpoint_sha256=sha,
        created_at=created,
        request=request.model_copy(update={"model_id": model_id}),
        core="worlds",
        core_train_bytes=0,
        core_heldout_bytes=0,
        core_before=lost[0].before,
        core_after=lost[0].after,
        mix_before=mix[0],
        mix_after=mix[1],
        unit="MSE",
        retention=share,
        steps=0,
        sources=[source for source, _, _ in taken],
        retention_rows=retention,
        forgetting_rows=lost,
        parts=[
            SleepPart(
                name=W_O,
                params=change.numel(),
                importance=None,
                change=float(change.norm()),
                scale=scale,
                gain=mix[0] - mix[1],
                cost=lost[0].rise,
            )
        ],
        writes=[
            SleepWrite(
                step=0,
                decision=event.decision,
                reasons=event.reasons,
                loss=event.loss,
                update_norm=event.update_norm,
                canary_delta=event.canary_delta,
                drift=event.drift,
            )
            for event in events
        ],
        cpu_seconds=time.process_time() - started,
        notes=notes,
    )
    atomic.write_json(folder / SLEEP_MANIFEST, manifest.model_dump(mode="json"))
    root = atomic.read_json(bases.candidates.path(mode) / META)["checkpoint_sha256"]
    bases.candidates.put(
        model_id,
        {
            "status": "sleep_candidate",
            "created_at": created,
            "mode": mode,
            "root_sha256": root,
            "checkpoint_sha256": sha,
            "sleep": summary(manifest),
        },
    )
    return manifest


def _sessions(
    service: NanoSessionService, mode: Mode, base_sha256: str, only: Sequence[str] | None
) -> tuple[list[tuple[SleepSource, Worlds, Weights]], list[str]]:
    """Of each session: what it read, its trajectory, and its weights; and a note for each left out."""
    from fastweights.train.nano_sleep import lived

    model = service.bases.base(mode).model
    found, notes = [], []
    for session_id in only or [one.session_id for one in service.list() if one.model == mode]:
        info, commit, state = service.snapshot(session_id)
        if info.model != mode:
            raise FastweightsError(f"session {session_id!r} is of mode {info.model!r}: give --nano {info.model}")
        if info.signature.base_sha256 != base_sha256:
            notes.append(f"session {session_id} is left out: it began from another base model")
            continue
        world = nano_turn.about(state)["world"]
        runs = [run for run, _ in service.lived(session_id) if not run.reverted]
        if not runs or world["step"] < 32:
            continue
        setting = info.options
        begun = physics.start(setting.mode, setting.seed, noise=setting.noise, mu=setting.mu)
        path = physics.advance(begun, min(world["step"], _MOST))[1]
        source = SleepSource(
            session_id=session_id,
            memory=setting.learning.rule,
            head=commit.id,
            turns=[
                SleepTurn(turn=run.turn, commit=run.commit, preview=f"steps {run.from_step} to {run.to_step}")
                for run in runs
            ],
            tokens=len(path),
        )
        found.append((source, lived(model, path), nano_turn.weights_of(state)))
    if not found:
        raise FastweightsError(
            f"no Nano session of mode {mode!r} has learned from this base in 32 steps or more: run one first "
            "(`fastweights nano session run`)"
        )
    return found, notes


def _retention(
    model: NanoSSM, taken: Sequence[tuple[SleepSource, Worlds, Weights]], base: Weights, candidate: Weights
) -> tuple[list[SleepRetention], float | None]:
    """A row a session: the error in its own world, with nothing learned on the way."""
    from fastweights.train.nano_sleep import mse

    rows = []
    for source, worlds, weights in taken:
        read = [mse(model, w, worlds) for w in (base, weights, candidate)]
        rows.append(
            SleepRetention(
                session_id=source.session_id,
                tokens=source.tokens,
                base=read[0],
                adapted=read[1],
                candidate=read[2],
                closed=closed(*read),
            )
        )
    sums = [sum(getattr(row, which) for row in rows) for which in ("base", "adapted", "candidate")]
    return rows, closed(*sums)
