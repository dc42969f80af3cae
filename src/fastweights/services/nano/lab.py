"""What the Nano pages draw and nothing stores: worlds simulated with any friction, the model's make-up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from fastweights.data import physics
from fastweights.data.physics import MEAN_MU, Mode
from fastweights.errors import FastweightsError
from fastweights.models.nano_config import DEFAULT_RULE, RULES, NanoLearning, Rule
from fastweights.services.nano import turn as nano_turn
from fastweights.services.nano.lab_records import (
    Finite,
    NanoEdge,
    NanoModelInfo,
    NanoNode,
    NanoParameter,
    NanoPrediction,
    NanoSimulate,
    NanoSimulation,
)
from fastweights.services.nano.rows import finite
from fastweights.services.nano.runs import update_record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastweights.models.nano import NanoSSM
    from fastweights.models.nano_reader import NanoReader, NanoState
    from fastweights.services.nano.sessions import NanoSessionService

EQUATIONS = ["h' = a * h + B W_u x", "prediction = W_o h'", "a = exp(-softplus(a_raw) dt)"]
_WRITES: dict[str, tuple[Rule, ...]] = {"W_u": ("muon", "sgd"), "B": ("muon", "sgd"), "W_o": RULES, "a_raw": ()}
_ROLES = {
    "W_u": "mixes velocity and action",
    "B": "drives the hidden states",
    "W_o": "reads the change of position and velocity out of the hidden states",
    "a_raw": "how fast each hidden state forgets",
}
_INPUTS = ["vel x", "vel y", "slow vel x", "slow vel y", "action x", "action y"]
_OUTPUTS = ["change of pos x", "change of pos y", "change of vel x", "change of vel y"]


class _Chosen(NamedTuple):
    """The weights that were asked for."""

    model: NanoSSM  # the base
    weights: dict[str, Any] | None  # of a session, by name; None: the base's
    guard: Any
    mode: Mode
    learning: NanoLearning
    session_id: str | None
    commit: str | None
    base_sha256: str


def simulate(service: NanoSessionService, asked: NanoSimulate) -> NanoSimulation:
    """Reads a world from its start; nothing is stored, and a session is only read.

    With a session its weights and the guard's histories begin it, with a fresh memory of the rule.
    """
    from fastweights.models.nano_reader import NanoReader, join

    nano_turn.set_threads()
    chosen = _chosen(service, asked.session, asked.at, asked.mode, asked.rule)
    world = physics.start(asked.mode or chosen.mode, asked.seed, noise=asked.noise, mu=asked.mu)
    reader = NanoReader(chosen.model, chosen.learning)
    parts = [*reader.parts(_begin(reader, chosen, world), asked.steps, frozen=not asked.adapt)]
    _, path = physics.advance(world, asked.steps)
    steps, errors_VNO = join([part.steps for part in parts]), _errors(parts)
    predictions = {
        name: _prediction(path, errors_VNO[at], mse)
        for at, (name, mse) in enumerate(
            (("adaptive", steps.adaptive), ("baseline", steps.baseline), ("frozen", steps.session_frozen))
        )
    }
    return NanoSimulation(
        session_id=chosen.session_id,
        commit=chosen.commit,
        mode=world.mode,
        seed=asked.seed,
        mu=world.mu,
        noise=asked.noise,
        steps=asked.steps,
        rule=chosen.learning.rule,
        adapt=asked.adapt,
        t=steps.t.tolist(),
        action=path.action.tolist(),
        pos=path.pos[1:].tolist(),
        vel=path.vel[1:].tolist(),
        friction=_friction(world, path),
        **predictions,
        oracle=_simulated(world.mode, world.mu, path, steps.oracle),
        mean_mu=_simulated(world.mode, MEAN_MU, path, steps.mean_mu),
        did_update=steps.did_update.tolist(),
        update_ok=steps.update_ok.tolist(),
        updates=[update_record(*part.write) for part in parts if part.write is not None],
    )


def describe(
    service: NanoSessionService, mode: Mode | None = None, session: str | None = None, at: str | None = None
) -> NanoModelInfo:
    """The model as it is: of a session at a commit (its head), or the base of a mode (linear)."""
    chosen = _chosen(service, session, at, mode, None)
    model, config = chosen.model, chosen.model.config
    own = chosen.weights or model.weights
    weights = {**{name: own[name] for name in model.weights}, "a_raw": model.a_raw}
    parameters = [_parameter(name, tensor) for name, tensor in weights.items()]
    decays = model.decay_D.double().tolist()
    return NanoModelInfo(
        mode=chosen.mode,
        session_id=chosen.session_id,
        commit=chosen.commit,
        config=config,
        equations=EQUATIONS,
        rule=chosen.learning.rule,
        base_sha256=chosen.base_sha256,
        plastic_count=sum(p.count for p in parameters if p.plastic),
        frozen_count=sum(p.count for p in parameters if not p.plastic),
        parameters=parameters,
        nodes=[
            NanoNode(id="x", label="input", width=len(_INPUTS), kind="input", labels=_INPUTS),
            NanoNode(id="u", label="W_u x", width=config.mixed, kind="hidden", labels=[]),
            NanoNode(id="h", label="hidden state", width=config.states, kind="state", labels=[]),
            NanoNode(id="z", label="prediction", width=len(_OUTPUTS), kind="output", labels=_OUTPUTS),
        ],
        edges=[
            NanoEdge(source="x", target="u", parameter="W_u", label="W_u x"),
            NanoEdge(source="u", target="h", parameter="B", label="+ B u"),
            NanoEdge(source="h", target="h", parameter="a_raw", label="a * h"),
            NanoEdge(source="h", target="z", parameter="W_o", label="W_o h"),
        ],
        a_raw=model.a_raw.double().tolist(),
        decays=decays,
        memory_steps=[-1 / math.log(decay) for decay in decays],
    )


# ---------------------------------------------------------------------- inside


def _chosen(
    service: NanoSessionService, session: str | None, at: str | None, mode: Mode | None, rule: Rule | None
) -> _Chosen:
    if session is None:
        if at is not None:
            raise FastweightsError(f"at is {at!r}, but of no session: name the session too")
        wanted = mode or get_args(Mode)[0]
        base = service.bases.base(wanted)
        learning = NanoLearning(rule=rule or DEFAULT_RULE)
        return _Chosen(base.model, None, None, wanted, learning, None, None, base.record.checkpoint_sha256)
    info, commit, state = service.snapshot(session, at)
    learning = info.options.learning
    if rule is not None and rule != learning.rule:
        learning = NanoLearning(rule=rule, policy=learning.policy)
    return _Chosen(
        nano_turn.base_of(state),
        nano_turn.weights_of(state),
        commit.guard,
        info.model,
        learning,
        session,
        commit.id,
        info.signature.base_sha256,
    )


def _begin(reader: NanoReader, chosen: _Chosen, world: physics.World) -> NanoState:
    return reader.start(world) if chosen.weights is None else reader.start(world, chosen.weights, chosen.guard)


def _errors(parts: list[Any]) -> NDArray[Any]:
    """``[V, N, O]`` of all steps."""
    import numpy as np

    return np.concatenate([part.errors_VON for part in parts], -1).swapaxes(1, 2)


def _prediction(path: physics.Trajectory, errors_NO: NDArray[Any], mse: NDArray[Any]) -> NanoPrediction:
    """An error in the change of position is one in the position."""
    return _said(path.pos[1:] + errors_NO[:, :2], path.vel[1:] + errors_NO[:, 2:], mse)


def _simulated(mode: Mode, mu: float, path: physics.Trajectory, mse: NDArray[Any]) -> NanoPrediction:
    vel = physics.next_velocity(mode, mu, path.vel[:-1], path.action)
    return _said(path.pos[:-1] + vel, vel, mse)


def _said(pos: NDArray[Any], vel: NDArray[Any], mse: NDArray[Any]) -> NanoPrediction:
    return NanoPrediction(pos=_pairs(pos), vel=_pairs(vel), mse=_numbers(mse), mean_mse=finite(float(mse.mean())))


def _pairs(rows: NDArray[Any]) -> list[tuple[Finite, Finite]]:
    return [(finite(x), finite(y)) for x, y in rows.tolist()]


def _numbers(values: NDArray[Any]) -> list[Finite]:
    return [finite(value) for value in values.tolist()]


def _friction(world: physics.World, path: physics.Trajectory) -> list[float]:
    import numpy as np

    found_N1 = physics.effective_friction(world.mode, world.mu, path.vel[:-1])
    return np.broadcast_to(found_N1, (len(path), 1))[:, 0].tolist()


def _parameter(name: str, tensor: Any) -> NanoParameter:
    return NanoParameter(
        name=name,
        shape=[*tensor.shape],
        count=tensor.numel(),
        plastic=bool(_WRITES[name]),
        written_by=[*_WRITES[name]],
        norm=float(tensor.double().norm()),
        role=_ROLES[name],
    )
