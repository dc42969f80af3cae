"""Sessions of Nano: a world, a base model, and the weights that learned in it; one commit a run.

A snapshot holds all of it: fast weights, rule state, hidden states, the block that is open, the base model, and (as the
file's metadata) the world with its generator. So a run goes on where the one before it stopped, wherever that was.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import orjson

from fastweights.errors import NotFound
from fastweights.services.nano import rows as nano_rows
from fastweights.services.nano import session_info
from fastweights.services.nano import turn as nano_turn
from fastweights.services.nano.records import NanoSetting, NanoUpdate
from fastweights.services.nano.runs import NanoService
from fastweights.services.nano.session_records import (
    MAX_ROWS,
    NanoRows,
    NanoSession,
    NanoSessionDetail,
    NanoSessionRun,
    NanoWeights,
)
from fastweights.services.nano.weights import matrices
from fastweights.services.verbs.diff import scalar
from fastweights.services.verbs.environment import environment
from fastweights.services.verbs.revert import RevertService
from fastweights.services.verbs.verify import CannotReplay, Made
from fastweights.store.commits import Commit, Lived, fresh_rule
from fastweights.store.meta import Meta
from fastweights.store.nano_files import PER_STEP, UPDATES
from fastweights.store.objects import sha256
from fastweights.store.refs import SHORT
from fastweights.store.root import Store, check_id, new_id
from fastweights.store.sessions import Sessions

_DEVICE = "cpu"


class NanoSessionService(RevertService[NanoSession]):
    """Sessions of Nano in a store, and the verbs on them. ``bases``: where base models come from (this store)."""

    def __init__(self, store: Store, bases: NanoService | None = None) -> None:
        self.sessions = Sessions(store, "nano")
        self.bases = bases or NanoService(store)

    # ------------------------------------------------------------------ look

    def list(self) -> list[NanoSession]:
        """Every session, last used first; one whose options this version cannot read is left out."""
        return [info for meta in self.sessions.list() if (info := session_info.readable(meta)) is not None]

    def show(self, session_id: str) -> NanoSessionDetail:
        """One session with the runs that its state has seen, oldest first."""
        meta = self.sessions.meta(session_id)
        head = self.sessions.read(meta.head)
        state = self.sessions.state(head)
        world = nano_turn.about(state)["world"]
        return NanoSessionDetail(
            **dict(session_info.info(meta)),
            step=world["step"],
            mu=world["mu"],
            writes=scalar(state, "step") or 0,
            runs=[run for run, _ in self.lived(session_id)],
        )

    def rows(self, session_id: str, run_id: str, offset: int = 0, limit: int = MAX_ROWS) -> NanoRows:
        """Steps of a run of the session, from the commit's own file."""
        return nano_rows.read_csv(run_id, self._file(session_id, run_id, PER_STEP), offset, limit)

    def updates(self, session_id: str, run_id: str) -> list[NanoUpdate]:
        """The transactions of a run, oldest first."""
        return [NanoUpdate.model_validate(one) for one in orjson.loads(self._file(session_id, run_id, UPDATES))]

    def weights(self, session_id: str, at: str | None = None, against: str | None = None) -> NanoWeights:
        """The plastic matrices at a commit (default: the head), beside the base model's and those of commit
        ``against`` (default: the parent)."""
        commit = self.sessions.find(session_id, at or "head")
        if against is not None:
            other = self.sessions.find(session_id, against)
        else:
            other = None if commit.parent is None else self.sessions.read(commit.parent)
        return NanoWeights(
            session_id=session_id,
            commit=commit.id,
            short=commit.id[:SHORT],
            against=None if other is None else other.id,
            matrices=matrices(self.sessions.state(commit), None if other is None else self.sessions.state(other)),
        )

    def snapshot(self, session_id: str, at: str | None = None) -> tuple[NanoSession, Commit, bytes]:
        """The session, one of its commits (default: the head), and the bytes of that commit's state."""
        meta = self.sessions.meta(session_id)
        commit = self.sessions.find(session_id, at or "head")
        return session_info.info(meta), commit, self.sessions.state(commit)

    def lived(self, session_id: str) -> builtins.list[tuple[NanoSessionRun, Commit]]:
        """The runs that the session's state has seen, oldest first, each with its commit."""
        lived = self.sessions.commits.lived(self.sessions.meta(session_id).head)
        return [(session_info.run(c, frozen), c) for c, frozen, *_ in lived if c.kind == "run"]

    # ------------------------------------------------------------------ change

    def new(self, setting: NanoSetting, session_id: str | None = None) -> NanoSession:
        """A session that has read nothing, from the base model of its mode (which is trained if there is none)."""
        session_id = new_id("s") if session_id is None else check_id("session", session_id)
        self.sessions.check_free(session_id)  # before a base model is trained for it
        model, base = self.bases.base(setting.mode)
        made = nano_turn.begin(setting, model)
        pinned = session_info.Pinned(
            **dict(setting),
            root_session=session_id,
            config_sha256=made.outputs["config_sha256"],
            base_sha256=base.checkpoint_sha256,
        )
        meta = self.sessions.create(
            session_id,
            model=setting.mode,
            options=pinned.model_dump(),
            state=made.state,
            guard=made.guard,
            record={**made.outputs, "drift": 0.0, "replay": {"environment": environment(_DEVICE).model_dump()}},
            title=f"{setting.mode} world {setting.seed}, {setting.learning.rule}",
        )
        return session_info.info(meta)

    def run(
        self,
        session_id: str,
        steps: int,
        *,
        on_event: nano_turn.OnEvent | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> NanoSessionRun:
        """Goes on in the session's world, and commits: the run returned is durable.

        ``on_event`` gets ``("steps", NanoRows)`` and ``("update", NanoUpdate)`` as they happen. Once ``cancelled`` is
        true the run ends with the block under way; what was read until then is committed.
        """
        started = time.monotonic()
        with self.sessions.lock(session_id, "running"):
            meta = self.sessions.meta(session_id)
            head = self.sessions.read(meta.head)
            run_id = new_id("run")
            done = self._start(meta, head).read(run_id, steps, on_event, cancelled)
            record = {
                **done.made.outputs,
                "stopped": "steps" if done.made.outputs["steps"] == steps else "cancelled",
                "seconds": time.monotonic() - started,
                "replay": {"environment": environment(_DEVICE).model_dump()},
            }
            commit = self.sessions.commit(
                session_id,
                parent=head.id,
                kind="run",
                state=done.made.state,
                guard=done.made.guard,
                record=record,
                files=done.files,
            )
            return session_info.run(commit)

    # ------------------------------------------------------------------ what the verbs ask of a kind

    def info(self, meta: Meta) -> NanoSession:
        return session_info.info(meta)

    def summary(self, commit: Commit) -> str:
        run = session_info.run(commit)
        errors = (run.baseline_mse, run.session_frozen_mse, run.adaptive_mse)
        shown = " -> ".join("not finite" if e is None else f"{e:.3g}" for e in errors)
        return f"steps {run.from_step} to {run.to_step}: base -> session -> learning {shown}"

    def device(self) -> str:
        nano_turn.set_threads()
        return _DEVICE

    def initial(self, meta: Meta, root: Commit) -> Made:
        """From the base model that the snapshot holds, whose SHA-256 must be the one that the session pinned."""
        pinned = session_info.options(meta)
        made = nano_turn.begin(pinned.setting(), nano_turn.base_of(self.sessions.state(root)))
        if made.outputs["base_sha256"] != pinned.base_sha256:
            raise CannotReplay("the base model in its initial state is not the one that the session says it began with")
        said = root.record.get("session")
        own = {**(said if isinstance(said, dict) else {}), "model": meta.model, "options": meta.options}
        return replace(made, outputs={**made.outputs, "session": own})

    def replay(self, meta: Meta, parent: Commit, commit: Commit) -> Made:
        """Reads the same steps again: state, guard, events, figures and files must be the same."""
        done = self._start(meta, parent).read(*session_info.asked(commit))
        files = {file: sha256(data) for file, data in done.files.items()}
        return replace(done.made, outputs={**done.made.outputs, "files": files})

    def relive(self, meta: Meta, start: Commit, rest: Sequence[Lived]) -> Made:
        """The same steps of the same world; ``replayed`` has the figures of each run that learned."""
        state, guard, drift = self.sessions.state(start), start.guard, start.record.get("drift")
        events, replayed = [], []
        for commit, frozen, *_ in rest:
            if commit.kind == "fork":
                state = fresh_rule(state, self.sessions.state(self.sessions.read(meta.root)))
                continue
            begun = nano_turn.Start(state, guard, drift, session_info.options(meta).learning)
            made = begun.read(*session_info.asked(commit), frozen=frozen).made
            figures = dict(made.outputs)
            events += figures.pop("events")
            replayed += [] if frozen else [figures]
            state, guard, drift = made.state, made.guard, figures["drift"]
        return Made(state, guard, {"drift": drift, "events": events, "replayed": replayed})

    # ------------------------------------------------------------------ inside

    def _start(self, meta: Meta, at: Commit) -> nano_turn.Start:
        state = self.sessions.state(at)
        return nano_turn.Start(state, at.guard, at.record.get("drift"), session_info.options(meta).learning)

    def _file(self, session_id: str, run_id: str, name: str) -> bytes:
        """A file of a run that the session's history, or what only a tag reaches, has."""
        wanted = f"{nano_turn.RUNS}/{check_id('run', run_id)}/{name}"
        for commit in self.sessions.log(session_id, everything=True):
            if wanted in commit.files:
                return self.sessions.objects.get(commit.files[wanted])
        raise NotFound(f"no run {run_id!r} in session {session_id!r}: `nano session show {session_id}` lists its runs")
