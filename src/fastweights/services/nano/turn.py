"""One run of a Nano session as a function of a snapshot's bytes: read on in its world. Stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from pydantic import ValidationError

from fastweights.errors import Corrupt
from fastweights.services.nano import rows as nano_rows
from fastweights.services.nano.records import NanoSetting
from fastweights.services.nano.runs import update_record
from fastweights.services.verbs.verify import Made
from fastweights.store import atomic, tensors
from fastweights.store.nano_files import METRICS, PER_STEP, UPDATES
from fastweights.store.objects import sha256

if TYPE_CHECKING:
    from torch import Tensor

    from fastweights.models.nano import NanoSSM
    from fastweights.models.nano_config import NanoLearning
    from fastweights.models.nano_reader import NanoReader, NanoState, Steps, Write

RUNS = "runs"
OnEvent = Callable[[str, Any], None]
_WHAT = "state of a Nano session"
_BASE = "base/"  # of a snapshot's tensors
_ABOUT = ("world", "config")  # of its metadata


class Done(NamedTuple):
    """A run that was read: what its commit is made of, and the files beside ``meta.json``."""

    made: Made
    files: dict[str, bytes]


@dataclass(frozen=True)
class Start:
    """Where a run begins: a commit's snapshot, guard histories and drift, and how the session learns."""

    state: bytes
    guard: Mapping[str, Any]
    drift: float | None
    learning: NanoLearning

    def read(
        self,
        run_id: str,
        steps: int,
        on_event: OnEvent | None = None,
        cancelled: Callable[[], bool] | None = None,
        *,
        frozen: bool = False,
    ) -> Done:
        """The next steps of the world, until ``cancelled`` is true after a block; ``frozen``: nothing is learned.

        ``on_event`` gets ``("steps", NanoRows)`` of each block and ``("update", NanoUpdate)`` of each write.
        """
        from fastweights.models.nano_reader import join

        set_threads()
        reader, state = self._open()
        columns: list[Steps] = []
        writes: list[Write] = []
        read = 0
        for part in reader.parts(state, steps, frozen=frozen):
            state = part.state
            columns.append(part.steps)
            writes += [] if part.write is None else [part.write]
            if on_event is not None:
                on_event("steps", nano_rows.live_rows(run_id, part.steps, read, steps))
                if part.write is not None:
                    on_event("update", update_record(*part.write))
            read += len(part.steps.t)
            if cancelled is not None and cancelled():
                break
        return self._done(run_id, reader, state, join(columns), writes)

    def _done(self, run_id: str, reader: NanoReader, state: NanoState, steps: Steps, writes: list[Write]) -> Done:
        events = [{"t": write.t, **write.event.model_dump()} for write in writes]
        drift = events[-1]["drift"] if events else self.drift
        figures = nano_rows.metrics(run_id, steps, [write.event.decision for write in writes], drift).model_dump()
        updates = [update_record(*write).model_dump() for write in writes]
        files = {
            METRICS: atomic.dump_json(figures, indent=True),
            f"{RUNS}/{run_id}/{PER_STEP}": nano_rows.per_step_csv(steps),
            f"{RUNS}/{run_id}/{UPDATES}": atomic.dump_json(updates),
        }
        return Done(_made(reader, state, {**figures, "events": events}), files)

    def _open(self) -> tuple[NanoReader, NanoState]:
        from fastweights.models.nano_reader import NanoReader

        loaded, _ = tensors.loads(self.state, what=_WHAT)
        with _named():
            return NanoReader.open(loaded, {"guard": self.guard, **about(self.state)}, self.learning)


def begin(setting: NanoSetting, model: NanoSSM) -> Made:
    """The state of a session that has read nothing; its outputs are the two hashes of the signature."""
    from fastweights.data import physics
    from fastweights.models.nano_reader import NanoReader

    set_threads()
    reader = NanoReader(model, setting.learning)
    state = reader.start(physics.start(setting.mode, setting.seed, noise=setting.noise, mu=setting.mu))
    base = {name.removeprefix(_BASE): t for name, t in reader.save(state)[0].items() if name.startswith(_BASE)}
    config = {"model": model.config.model_dump(), "options": setting.model_dump()}
    outputs = {
        "config_sha256": sha256(atomic.dump_json(config)),
        "base_sha256": sha256(tensors.dumps(base)),
    }
    return _made(reader, state, outputs)


def base_of(state: bytes) -> NanoSSM:
    """The base model that a snapshot holds."""
    from fastweights.models.nano import NanoSSM
    from fastweights.models.nano_config import NanoConfig

    with _named():
        return NanoSSM(NanoConfig.model_validate(about(state)["config"]), _under(_BASE, state))


def weights_of(state: bytes) -> dict[str, Tensor]:
    """The fast weights that a snapshot holds, each ``[1, rows, columns]``."""
    return _under("weights/", state)


def _under(prefix: str, state: bytes) -> dict[str, Tensor]:
    loaded, _ = tensors.loads(state, what=_WHAT)
    return {name.removeprefix(prefix): t for name, t in loaded.items() if name.startswith(prefix)}


def about(state: bytes) -> dict[str, Any]:
    """``world`` and the model's ``config``, from a snapshot's metadata."""
    _, said = tensors.unpack(state, _WHAT)
    try:
        return {name: orjson.loads(said[name]) for name in _ABOUT}
    except (KeyError, orjson.JSONDecodeError) as error:
        raise Corrupt(f"{_WHAT} does not say its world: {error!r}; run `fastweights fsck`") from None


def set_threads() -> None:
    """As every computation here does, so that a replay adds up in the same order."""
    from fastweights.models.device import set_threads

    set_threads()


def _made(reader: NanoReader, state: NanoState, outputs: Mapping[str, Any]) -> Made:
    saved, rest = reader.save(state)
    said = {name: atomic.dump_json(rest[name]).decode() for name in _ABOUT}
    return Made(tensors.dumps(saved, said), rest["guard"], outputs)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise Corrupt(f"{_WHAT} cannot be read: {error}; run `fastweights fsck`") from None
