"""Sleep of Nano: what sessions know of their worlds goes over into the readout of the base model.

The readout is linear, so distilling is closed form: the readout that comes nearest to what each session predicts in its
own world, and to what the base predicts in worlds of its training. Each step weighs by the outer product of its hidden
state, the Fisher information of a linear readout: this is the Fisher-weighted mean of the sessions' changes (Matena and
Raffel, 2022). Legend as in :mod:`fastweights.models.nano`; N worlds, S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.core.learner import GradientLearner, Proposal
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, FastState, Weights, add
from fastweights.data import physics
from fastweights.guard.event import Event
from fastweights.guard.evidence import Evidence, Stage, Verdict
from fastweights.guard.guard import Guard
from fastweights.guard.mode import Mode
from fastweights.guard.regression_policy import NanoPolicy
from fastweights.models.nano import CHUNK, OUTPUTS, W_O, NanoSSM, nano_chunk, targets
from fastweights.models.nano_config import NanoLearning
from fastweights.models.nano_reader import NanoReader

SCALES = (1.0, 0.7, 0.5, 0.3, 0.15)
"""How far towards the merged readout a proposal goes; the first that the guard commits is kept."""


class Worlds(NamedTuple):
    """Inputs ``x_NSJ`` and targets ``y_NSO`` of whole blocks of steps, each world from rest."""

    x_NSJ: Tensor
    y_NSO: Tensor


def held_out(model: NanoSSM, mode: physics.Mode, count: int, steps: int, seed: int, noise: float) -> Worlds:
    """Worlds of any friction that nothing was learned in."""
    _, vel, action = physics.many(mode, count, steps // CHUNK * CHUNK, seed, noise)
    return Worlds(torch.from_numpy(model.inputs(vel[:, :-1], action)), torch.from_numpy(targets(vel)))


def lived(model: NanoSSM, path: physics.Trajectory) -> Worlds:
    """One trajectory, cut to whole blocks."""
    whole = len(path) // CHUNK * CHUNK
    x_SJ, y_SO = model.inputs(path.vel[:-1], path.action)[:whole], targets(path.vel)[:whole]
    return Worlds(torch.from_numpy(x_SJ)[None], torch.from_numpy(y_SO)[None])


def predictions(model: NanoSSM, weights: Weights, worlds: Worlds) -> tuple[Tensor, Tensor]:
    """Hidden states ``[N, S, D]`` and predictions ``[N, S, O]`` under one set of weights (B = 1), fp64."""
    start_BD = worlds.x_NSJ.new_zeros(len(worlds.x_NSJ), model.config.states)
    h_NCDT = model.hidden(weights, model.filtered(worlds.x_NSJ)[0], start_BD)
    h_NSD = h_NCDT.mT.flatten(1, 2).double()
    return h_NSD, h_NSD @ weights[W_O][0].double().T


def mse(model: NanoSSM, weights: Weights, worlds: Worlds) -> float:
    """Mean squared error over worlds, steps and outputs."""
    return float((predictions(model, weights, worlds)[1] - worlds.y_NSO).square().mean())


def distilled(model: NanoSSM, sessions: Sequence[tuple[Worlds, Weights]], core: Worlds, core_ratio: float) -> Tensor:
    """The merged readout ``W_o`` [O, D]. ``core_ratio``: the weight of the base's own predictions among all."""
    base, size = model.init_weights(1), model.config.states
    gram_DD = torch.zeros(size, size, dtype=torch.float64)
    cross_DO = torch.zeros(size, OUTPUTS, dtype=torch.float64)
    share = (1 - core_ratio) / max(1, len(sessions))
    for worlds, teacher, weight in [*((w, t, share) for w, t in sessions), (core, base, core_ratio)]:
        h_NSD, taught_NSO = predictions(model, base, worlds)[0], predictions(model, teacher, worlds)[1]
        steps = h_NSD.shape[0] * h_NSD.shape[1]
        gram_DD += weight / steps * torch.einsum("nsd,nse->de", h_NSD, h_NSD)
        cross_DO += weight / steps * torch.einsum("nsd,nso->do", h_NSD, taught_NSO)
    ridge = 1e-9 * float(gram_DD.diagonal().mean())
    return torch.linalg.solve(gram_DD + ridge * torch.eye(size, dtype=torch.float64), cross_DO).T.float()


@dataclass(frozen=True)
class Towards:
    """A learner that proposes one given change, whatever it reads."""

    learner: GradientLearner
    delta: Weights

    def init(self, batch: int = 1) -> FastState:
        return self.learner.init(batch)

    def prepare(self, chunk: Chunk, carry: object) -> Chunk:
        return self.learner.prepare(chunk, carry)

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        own = self.learner.propose(state, chunk, create_graph=create_graph)
        after = replace(own.after, weights=add(state.weights, self.delta))
        return own._replace(delta=self.delta, after=after)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        return self.learner.score(state, chunk)

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        return self.learner.score_and_grad(state, chunk)


@dataclass(frozen=True, eq=False)
class WorldBound:
    """Refuses a base under which worlds that no session lived in are predicted worse by more than a share."""

    losses: Callable[[Weights], Sequence[float]]
    before: Sequence[float]
    limit: float
    name: str = "world_bound"
    stage: Stage = "candidate"
    mode: Mode = "enforce"

    def __call__(self, evidence: Evidence) -> Verdict:
        assert evidence.proposal is not None
        now = self.losses(evidence.proposal.after.weights)
        rise = max(after / before - 1 for after, before in zip(now, self.before, strict=True))
        ok = rise <= self.limit  # not finite: refused
        reason = f"held-out worlds would be predicted worse by {rise:.2%} (limit {self.limit:.2%})"
        return Verdict(ok, () if ok else (reason,), {"rise": rise, "limit": self.limit})


def consolidate(
    model: NanoSSM, merged_OD: Tensor, bounds: Sequence[Worlds], limit: float
) -> tuple[Weights, float, list[Event]]:
    """(weights, the scale that was committed, the guard's events): the longest step towards the merged readout that
    raises no canary and no bound's error beyond its limit; scale 0 and the base where none is."""
    reader = NanoReader(model, NanoLearning(rule="sgd"))
    inner = GradientLearner(reader.plain, SGD())

    def losses(weights: Weights) -> list[float]:
        return [mse(model, weights, worlds) for worlds in bounds]

    check = WorldBound(losses, losses(model.init_weights(1)), limit)
    guard = Guard(NanoPolicy().shared(), reader.guard.canaries, (check,), score_after=False, unit="MSE")
    session, events = guard.begin(inner, inner.init()), []
    chunk = nano_chunk(bounds[0].x_NSJ[:1], bounds[0].y_NSO[:1])
    step_1OD = merged_OD[None] - session.fast.weights[W_O]
    for scale in SCALES:
        delta = {
            name: scale * step_1OD if name == W_O else torch.zeros_like(w) for name, w in inner.init().weights.items()
        }
        outcome = guard.step(Towards(inner, delta), session, chunk)
        events.append(outcome.event)
        if outcome.committed:
            return outcome.session.fast.weights, scale, events
    return session.fast.weights, 0.0, events
