"""Reading a world with a NanoSSM whose weights learn: a saved state and n steps give the new state and what happened.

Every 32 steps the guard judges one write. Three models read the same steps side by side: the learning one, the base,
and the weights that this run began with. What is read between two writes is computed in blocks of one fixed shape,
padded where it ends early, so that in how many runs a trajectory is read changes no bit of it.

Legend: T steps of a block, J inputs, O outputs, D hidden states; V the three models side by side.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core import state as fast_state
from fastweights.core.learner import GradientLearner, Learner
from fastweights.core.least_squares import LeastSquaresLearner
from fastweights.core.rules import SGD, Muon
from fastweights.core.state import Chunk, FastState, Weights
from fastweights.data import physics
from fastweights.data.physics import Trajectory, World
from fastweights.guard.canaries import Canaries
from fastweights.guard.event import Event
from fastweights.guard.guard import Guard
from fastweights.guard.regression import Reread, regression_checks
from fastweights.guard.state import GuardState, Session
from fastweights.models.nano import A_RAW, INPUTS, OUTPUTS, Blocks, NanoSSM, nano_chunk, targets
from fastweights.models.nano_config import CHUNK, NanoConfig, NanoLearning

PUSHES = {"push-x": (1.0, 0.0), "push-y": (0.0, 1.0)}
"""Accelerations of a body at rest: what they do is the same in every world, so no world may make a model unlearn it."""

_BASE = "base/"
_FROZEN = "reader/open_frozen"


@dataclass(frozen=True, eq=False)
class NanoState:
    """Where a reader stands: what is saved, forked and gone on from.

    ``base_h_BD``: the base model's hidden state at the latest write; ``open_x_TJ`` and ``open_y_TO`` hold the
    ``open_steps`` steps read since then (zeros behind them). ``open_frozen``: some of them were read without learning,
    so that nothing is learned from this block.
    """

    session: Session
    world: World
    base_h_BD: Tensor
    open_x_TJ: Tensor
    open_y_TO: Tensor
    open_steps: int
    open_frozen: bool = False


class Steps(NamedTuple):
    """What each step cost, one entry a step: squared errors, mean over position and velocity (fp64).

    ``adaptive``: under the weights that the steps before it made; ``baseline``: the base model; ``session_frozen``: the
    weights that the run began with; ``oracle`` and ``mean_mu``: the simulator with the true and with the mean friction.
    """

    t: NDArray[np.int64]
    baseline: NDArray[np.float64]
    session_frozen: NDArray[np.float64]
    adaptive: NDArray[np.float64]
    oracle: NDArray[np.float64]
    mean_mu: NDArray[np.float64]
    did_update: NDArray[np.bool_]
    update_ok: NDArray[np.bool_]


class Write(NamedTuple):
    """One transaction: after step ``t``."""

    t: int
    event: Event


class Reading(NamedTuple):
    state: NanoState
    steps: Steps
    writes: list[Write]


class Part(NamedTuple):
    """A block's worth of a run, or the piece of one that it begins or ends with.

    ``errors_VON``: prediction minus what came, of the models (adaptive, base, session frozen) for each output, fp64.
    """

    state: NanoState
    steps: Steps
    errors_VON: NDArray[np.float64]
    write: Write | None


class NanoReader:
    """Reads worlds with one base model, rule and policy; holds no world's state."""

    def __init__(self, model: NanoSSM, learning: NanoLearning) -> None:
        self.learning = learning
        self.plain = NanoSSM(model.config, {**model.weights, A_RAW: model.a_raw})
        replayed = NanoSSM(model.config, {**model.weights, A_RAW: model.a_raw}, learning.replay)
        self._model = self.plain if learning.rule == "rls" else replayed
        self.learner: Learner = _learner(self._model, learning)
        self._base = self.plain.init_weights(1)
        policy = learning.policy
        self.guard = Guard(
            policy.shared(), self._canaries(), regression_checks(policy, self._reread), score_after=False, unit="MSE"
        )

    def start(self, world: World, weights: Weights | None = None, guard: Mapping[str, Any] | None = None) -> NanoState:
        """Nothing read yet and a fresh optimiser. ``weights`` and the ``guard``'s histories: the base model's, with
        which drift begins, unless others are given."""
        session = self.guard.begin(self.learner, self.learner.init())
        if weights is not None:
            session = replace(session, fast=replace(session.fast, weights=weights))
        if guard is not None:
            session = replace(session, guard=GuardState.from_json(guard))
        base_h_BD = self.plain.a_raw.new_zeros(1, self.plain.config.states)
        return NanoState(session, world, base_h_BD, torch.zeros(CHUNK, INPUTS), torch.zeros(CHUNK, OUTPUTS), 0)

    def without_momentum(self, state: NanoState) -> NanoState:
        """The same weights with the rule's memory as at the start (momentum; for rls the precision)."""
        fast = replace(state.session.fast, rule=self.learner.init().rule)
        return replace(state, session=replace(state.session, fast=fast))

    def save(self, state: NanoState) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Flat tensors and JSON that hold all of it, the base model too: what :meth:`open` and :meth:`load` take.

        Tensors: ``weights/``, ``rule/``, ``carry/`` and ``step`` as every session has, ``reader/`` and ``base/``. JSON:
        ``guard``, ``world`` and the base model's ``config``.
        """
        tensors = {
            **fast_state.to_tensors(state.session.fast),
            "reader/base_h": state.base_h_BD,
            "reader/open_x": state.open_x_TJ,
            "reader/open_y": state.open_y_TO,
            "reader/open_steps": torch.tensor(state.open_steps),
            **({_FROZEN: torch.ones((), dtype=torch.int64)} if state.open_frozen else {}),
            **self._base_tensors(),
        }
        rest = {
            "guard": state.session.guard.to_json(),
            "world": state.world.to_json(),
            "config": self.plain.config.model_dump(),
        }
        return tensors, rest

    @staticmethod
    def open(
        tensors: Mapping[str, Tensor], rest: Mapping[str, Any], learning: NanoLearning
    ) -> "tuple[NanoReader, NanoState]":
        """Reader and state from what :meth:`save` gave, with no other file."""
        base = {name.removeprefix(_BASE): t for name, t in tensors.items() if name.startswith(_BASE)}
        reader = NanoReader(NanoSSM(NanoConfig.model_validate(rest["config"]), base), learning)
        return reader, reader.load(tensors, rest)

    def load(self, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> NanoState:
        """A state that :meth:`save` gave. ValueError names a tensor that is wrong, or says that the base differs."""
        own = {name: t for name, t in tensors.items() if name.startswith(("reader/", _BASE))}
        fast = fast_state.from_tensors({k: t for k, t in tensors.items() if k not in own}, self.learner.init())
        for name, mine in self._base_tensors().items():
            if name not in own or not torch.equal(own[name], mine):
                raise ValueError(f"state tensor {name!r} is not this reader's: it was read with another base model")
        if missing := {"reader/base_h", "reader/open_x", "reader/open_y", "reader/open_steps"} - set(own):
            raise ValueError(f"state lacks tensor {min(missing)!r}")
        return NanoState(
            Session(fast, GuardState.from_json(rest["guard"])),
            World.from_json(rest["world"]),
            own["reader/base_h"],
            own["reader/open_x"],
            own["reader/open_y"],
            int(own["reader/open_steps"]),
            _FROZEN in own,
        )

    def read(self, state: NanoState, steps: int, *, frozen: bool = False) -> Reading:
        """The next ``steps`` steps of the state's world; ``frozen`` as in :meth:`parts`."""
        columns, writes = [], []
        for part in self.parts(state, steps, frozen=frozen):
            state = part.state
            columns.append(part.steps)
            writes += [] if part.write is None else [part.write]
        return Reading(state, join(columns), writes)

    def parts(self, state: NanoState, steps: int, *, frozen: bool = False) -> Iterator[Part]:
        """The same, as it happens: each part has the state after it.

        ``frozen``: the steps are lived through, but nothing is ever learned from them. The world and the hidden states
        go on; weights, the rule's memory and the guard's stay as they are, no write is made of a block that has such a
        step in it, and the replay window begins anew behind it.
        """
        begun, begun_h_BD = state.session.fast.weights, state.session.fast.carry["h"]
        walk = physics.Walk(state.world)
        while steps > 0:
            world, path = walk.advance(min(steps, CHUNK - state.open_steps))
            steps -= len(path)
            before = state.world.step
            with torch.inference_mode():  # a tenth to a quarter faster than without gradients
                state, errors_VON, write, begun_h_BD = self._block(state, begun, begun_h_BD, path, frozen)
            state = replace(state, world=world)
            yield Part(state, _columns(before, errors_VON, world, path, write), errors_VON, write)

    # ------------------------------------------------------------------ inside

    def _block(
        self, state: NanoState, begun: Weights, begun_h_BD: Tensor, path: Trajectory, frozen: bool
    ) -> tuple[NanoState, NDArray[np.float64], Write | None, Tensor]:
        """Some steps of one block: state after, errors ``[V, O, N]`` of (learning, base, begun), the write if due."""
        opened, filled, frozen = state.open_steps, state.open_steps + len(path), frozen or state.open_frozen
        x_TJ, y_TO = state.open_x_TJ.clone(), state.open_y_TO.clone()
        x_TJ[opened:filled] = torch.from_numpy(self.plain.inputs(path.vel[:-1], path.action))
        y_TO[opened:filled] = torch.from_numpy(targets(path.vel))
        fast = state.session.fast
        chunk = self.learner.prepare(nano_chunk(x_TJ[None], y_TO[None]), fast.carry)
        errors_VOT, h_VD = self._predict(
            [fast.weights, self._base, begun], [fast.carry["h"], state.base_h_BD, begun_h_BD], chunk
        )
        if isinstance(self.learner, LeastSquaresLearner) and not frozen:  # it predicts each step with all before it
            errors_VOT[0] = -self.learner.innovations(fast, chunk)[0].T
        found_VON = errors_VOT[..., opened:filled].numpy()
        if filled < CHUNK:
            opened_state = replace(state, open_x_TJ=x_TJ, open_y_TO=y_TO, open_steps=filled, open_frozen=frozen)
            return opened_state, found_VON, None, begun_h_BD
        session, write = state.session, None
        if frozen:
            session = replace(session, fast=self._passed(fast, chunk))
        else:
            outcome = self.guard.step(self.learner, session, chunk)
            session, write = outcome.session, Write(state.world.step + len(path), outcome.event)
        after = NanoState(session, state.world, h_VD[1:2], torch.zeros_like(x_TJ), torch.zeros_like(y_TO), 0)
        return after, found_VON, write, h_VD[2:]

    def _passed(self, fast: FastState, chunk: Chunk) -> FastState:
        """A block that nothing is learned from: the hidden state goes on, and the replay window is empty."""
        output, _ = self._model.closed_form(fast.weights, chunk.inputs["features"], chunk, fast.carry, grad=False)
        carry = dict(output.carry)
        if "rows" in carry:
            carry["rows"] = torch.zeros_like(carry["rows"])
        return replace(fast, carry=carry)

    def _base_tensors(self) -> dict[str, Tensor]:
        return {f"{_BASE}{name}": w for name, w in {**self.plain.weights, A_RAW: self.plain.a_raw}.items()}

    def _predict(self, weights: list[Weights], start: list[Tensor], chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Errors ``[V, O, T]`` (fp64) of several sets of weights over one block, and the hidden states after it."""
        stacked = {name: torch.cat([w[name] for w in weights]) for name in weights[0]}
        blocks: Blocks = chunk.inputs["features"]
        alone = blocks.filtered_BCJDT.shape[1] == 1  # else the block's own start is inside of a window
        filtered_BCJDT = blocks.filtered_BCJDT if alone else self.plain.filtered(chunk.inputs["x"])[0]
        targets_BCOT = chunk.inputs["y"].mT.unsqueeze(1)
        share = torch.ones(())
        found = self.plain.read(
            stacked, Blocks(filtered_BCJDT, filtered_BCJDT[:, 0], targets_BCOT, share, torch.cat(start))
        )
        return found.error_BCOT[:, 0].double(), found.h_BCDT[:, 0, :, -1]

    def _reread(self, state: FastState, chunk: Chunk) -> Reread:
        blocks = chunk.inputs["features"]
        found = self._model.read_once(state.weights, blocks)
        loss = (blocks.share_BC1T * found.error_BCOT.square()).sum()
        return Reread(float(loss), float(torch.linalg.vector_norm(found.h_BCDT, torch.inf)))

    def _canaries(self) -> Canaries:
        push_B12 = np.array([*PUSHES.values()])[:, None]
        vel_B22 = np.concatenate([np.zeros_like(push_B12), push_B12], 1)
        x_B1J, y_B1O = self.plain.inputs(vel_B22[:, :1], push_B12), targets(vel_B22)
        reader = self.learner if isinstance(self.learner, LeastSquaresLearner) else GradientLearner(self.plain, SGD())
        return Canaries.prepare(reader, [*PUSHES], nano_chunk(torch.from_numpy(x_B1J), torch.from_numpy(y_B1O)))


def _learner(model: NanoSSM, learning: NanoLearning) -> Learner:
    if learning.rule == "rls":
        return LeastSquaresLearner(model, learning.forgetting, learning.prior, learning.spread)
    nesterov = learning.momentum > 0
    make = Muon if learning.rule == "muon" else SGD
    return GradientLearner(model, make(learning.rate, learning.momentum, nesterov), learning.inner_steps)


def _columns(
    before: int, errors_VON: NDArray[np.float64], world: World, path: Trajectory, write: Write | None
) -> Steps:
    found_VN = (errors_VON**2).mean(1)
    did, ok = np.zeros(len(path), dtype=np.bool_), np.zeros(len(path), dtype=np.bool_)
    if write is not None:
        did[-1], ok[-1] = True, write.event.decision == "committed"
    oracle_N, mean_mu_N = physics.simulator_errors(world.mode, np.array([world.mu, physics.MEAN_MU]), path)
    t = np.arange(before + 1, before + len(path) + 1)
    return Steps(t, found_VN[1], found_VN[2], found_VN[0], oracle_N, mean_mu_N, did, ok)


def join(pieces: Sequence[Steps]) -> Steps:
    """One after the other; none of them: no steps."""
    if pieces:
        return Steps(*map(np.concatenate, zip(*pieces, strict=True)))
    empty, flags = np.zeros(0), np.zeros(0, dtype=np.bool_)
    return Steps(np.zeros(0, dtype=np.int64), empty, empty, empty, empty, empty, flags, flags)
