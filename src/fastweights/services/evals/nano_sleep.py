"""``eval sleep --nano``: what a base model of Nano keeps of its sessions' worlds and what it forgets. Torch loads late.

Sessions of a store of its own each live in a world. Errors are counted where each world goes on after that, in steps
that nobody has read: of the base, of the base with the session's fast weights, and of the candidate, which has none.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from fastweights.clock import cpu_seconds
from fastweights.data import physics
from fastweights.data.physics import Mode
from fastweights.models.nano_config import DEFAULT_RULE, NanoLearning
from fastweights.services.nano.records import NanoSetting, NanoSleepEvalRequest
from fastweights.services.nano.runs import NanoService
from fastweights.services.nano.sessions import NanoSessionService
from fastweights.services.sleep.candidates import Candidates
from fastweights.services.sleep.consolidate import sleep
from fastweights.services.sleep.measure import closed
from fastweights.services.sleep.records import SleepRequest
from fastweights.store.nano_files import BASE
from fastweights.store.root import Store

_FIRST_WORLD = 90_000  # seeds of worlds that nothing was tuned on; no others here are as high
_CANDIDATE = "delta"


def eval_nano_sleep(
    store: Store, mode: Mode, request: NanoSleepEvalRequest, note: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """The JSON that ``eval sleep --nano`` prints. The base is the store's own of that mode, if it has one."""
    rule = request.rule or DEFAULT_RULE
    with tempfile.TemporaryDirectory(prefix="fastweights-eval-sleep-") as place:
        own, given = Store(place), NanoService(store)
        if (source := store.path(BASE, given.candidates.current(mode))).is_dir():
            shutil.copytree(source, own.path(BASE, mode), ignore=shutil.ignore_patterns("sleep*", "*.lock"))
        service = NanoSessionService(own, NanoService(own, note))
        settings = {
            f"session-{at + 1:03d}": NanoSetting(
                seed=_FIRST_WORLD + 1000 * request.seed + at,
                mode=mode,
                noise=request.noise,
                learning=NanoLearning(rule=rule),
            )
            for at in range(request.sessions)
        }
        for name, setting in settings.items():
            service.new(setting, name)
            service.run(name, request.steps)
        note(f"{request.sessions} worlds of {request.steps} steps, rule {rule}")
        base = service.bases.base(mode)
        found = sleep(own, SleepRequest(nano=mode, model_id=_CANDIDATE, seed=request.seed), note)
        Candidates(own).decide(_CANDIDATE, "approve")
        errors = _further(service, settings, base.model, service.bases.base(mode).model, request.steps)
    core = [row for row in found.forgetting_rows if row.kind == "world"]
    return {
        "nano": mode,
        "base_sha256": base.record.checkpoint_sha256,
        "rule": rule,
        "sessions": request.sessions,
        "steps": request.steps,
        "noise": request.noise,
        "seed": request.seed,
        "results": [
            {
                "mode": found.mode,
                "mse": errors,
                "closed": closed(errors["base"], errors["adapted"], errors["candidate"]),
                "retention": found.retention,
                "core_before": found.core_before,
                "core_after": found.core_after,
                "core_rise": found.core_after - found.core_before,
                "worst_rise_share": max(row.rise / row.before for row in core),
                "scale": found.parts[0].scale,
                "refused": sum(write.decision != "committed" for write in found.writes),
                "cpu_seconds": found.cpu_seconds,
            }
        ],
        "cpu_seconds": cpu_seconds(),
    }


def _further(
    service: NanoSessionService, settings: dict[str, NanoSetting], base: Any, candidate: Any, steps: int
) -> dict[str, float]:
    """Mean squared errors over as many steps more of each world as its session read, with nothing learned there."""
    from fastweights.services.nano import turn as nano_turn
    from fastweights.train.nano_sleep import lived, predictions

    sums = {"base": 0.0, "adapted": 0.0, "candidate": 0.0}
    for name, setting in settings.items():
        begun = physics.start(setting.mode, setting.seed, noise=setting.noise, mu=setting.mu)
        worlds = lived(base, physics.advance(begun, 2 * steps)[1])
        weights = {
            "base": base.init_weights(1),
            "adapted": nano_turn.weights_of(service.snapshot(name)[2]),
            "candidate": candidate.init_weights(1),
        }
        for who, one in weights.items():
            error_NSO = predictions(base, one, worlds)[1] - worlds.y_NSO
            sums[who] += float(error_NSO[:, steps:].square().mean()) / len(settings)
    return sums
