"""Pretraining of Nano's base model on many worlds, exact in the data: no batches, the whole set in every step.

The prediction is linear in the filtered inputs F, with the coefficients ``W_o[o, d] M[d, j]``. So the loss over all
worlds and steps is a function of three sums, ``E[F F']``, ``E[F y']`` and ``E[y y']``: they are taken once, and a step
of the optimiser costs the same whatever the number of worlds. Legend as in :mod:`fastweights.models.nano`, and
P = J x D filtered inputs.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fastweights.data import physics
from fastweights.models.nano import A_RAW, INPUTS, OUTPUTS, PLASTIC, W_O, W_U, B, NanoSSM, shapes_of, targets
from fastweights.models.nano_config import CHUNK, NanoConfig, NanoPretrain

_WORLDS_AT_ONCE = 32


class Moments(NamedTuple):
    """Means over worlds and steps, fp64."""

    inputs_PP: Tensor
    cross_PO: Tensor
    targets: Tensor  # of y' y


@dataclass(frozen=True)
class Pretrained:
    """Weights by name, ``a_raw`` included, and the mean squared error on the training worlds."""

    weights: dict[str, Tensor]
    mse: float


def pretrain(mode: physics.Mode, config: NanoConfig | None = None, how: NanoPretrain | None = None) -> Pretrained:
    """A base model for worlds of that mode. The same arguments give the same weights (same machine, same threads)."""
    config, how = config or NanoConfig(), how or NanoPretrain()
    weights = initial_weights(config, how.seed)
    moments = measure(NanoSSM(config, weights), mode, how)
    live = {name: weights[name].double().requires_grad_() for name in PLASTIC}
    optimizer = torch.optim.Adam([*live.values()], lr=how.lr)
    for step in range(how.steps):
        for group in optimizer.param_groups:
            group["lr"] = how.lr * min(1.0, 2 * (1 - step / how.steps))
        optimizer.zero_grad(set_to_none=True)
        loss(live, moments).backward()
        optimizer.step()
    found = {name: w.detach().float() for name, w in live.items()}
    with torch.no_grad():
        return Pretrained({**found, A_RAW: weights[A_RAW]}, float(loss(live, moments)))


def initial_weights(config: NanoConfig, seed: int) -> dict[str, Tensor]:
    """Decays spread from 0.0025 to 0.98 a step (memories of one step to about 55); states of one size."""
    generator = torch.Generator().manual_seed(seed)
    a_raw_D = torch.linspace(6.0, -4.0, config.states)
    gain_D1 = (1 - torch.exp(-torch.nn.functional.softplus(a_raw_D) * config.dt))[:, None]
    normal = {name: torch.randn(shapes_of(config)[name], generator=generator) for name in PLASTIC}
    return {
        W_U: normal[W_U] / INPUTS**0.5,
        B: normal[B] / config.mixed**0.5 * gain_D1,
        W_O: 0.1 * normal[W_O] / config.states**0.5,
        A_RAW: a_raw_D,
    }


def measure(model: NanoSSM, mode: physics.Mode, how: NanoPretrain) -> Moments:
    """The three means over ``how.worlds`` worlds of ``how.length`` steps (whole blocks of them)."""
    _, vel, action = physics.many(mode, how.worlds, how.length // CHUNK * CHUNK, how.seed, how.noise)
    x_NTJ, y_NTO = torch.from_numpy(model.inputs(vel[:, :-1], action)), torch.from_numpy(targets(vel))
    size = INPUTS * model.config.states
    inputs_PP, cross_PO = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, OUTPUTS, dtype=torch.float64)
    for x_BTJ, y_BTO in zip(x_NTJ.split(_WORLDS_AT_ONCE), y_NTO.split(_WORLDS_AT_ONCE), strict=True):
        f_SP = model.filtered(x_BTJ)[0].permute(0, 1, 4, 2, 3).reshape(-1, size)
        inputs_PP += (f_SP.T @ f_SP).double()
        cross_PO += (f_SP.T @ y_BTO.reshape(-1, OUTPUTS)).double()
    steps = y_NTO.shape[0] * y_NTO.shape[1]
    return Moments(inputs_PP / steps, cross_PO / steps, y_NTO.double().square().sum() / steps)


def loss(weights: dict[str, Tensor], moments: Moments) -> Tensor:
    """Mean squared error over worlds, steps and outputs."""
    mixed_JD = (weights[B] @ weights[W_U]).T
    map_OP = (weights[W_O].unsqueeze(1) * mixed_JD).flatten(1)
    quadratic = ((map_OP @ moments.inputs_PP) * map_OP).sum() - 2 * (map_OP * moments.cross_PO.T).sum()
    return (quadratic + moments.targets) / OUTPUTS
