"""Nano over many worlds: does learning help, and how much of what could be gained does it gain?

Legend: C blocks of T steps, D hidden states, O outputs, S seeds.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.data import physics
from fastweights.data.physics import Mode, Trajectory
from fastweights.evals.nano_records import NanoFigures, NanoScore
from fastweights.models.nano import W_O, NanoSSM, targets
from fastweights.models.nano_config import CHUNK, NanoLearning
from fastweights.models.nano_reader import NanoReader, Reading

_RESAMPLES = 2000
_Z = 1.959964  # 95 %
_BLOCKS_AT_ONCE = 64

Array = NDArray[np.float64]


class Run(NamedTuple):
    """One trajectory read: its figures, and all that they are made of."""

    figures: NanoFigures
    reading: Reading
    refit: Array  # squared error a step


def run(reader: NanoReader, mode: Mode, seed: int, steps: int, noise: float = 0.0, mu: float | None = None) -> Run:
    """Read ``steps`` steps of the world of that seed, from the base model on."""
    world = physics.start(mode, seed, noise=noise, mu=mu)
    reading = reader.read(reader.start(world), steps)
    refit_N = refit_errors(reader.plain, physics.advance(world, steps)[1], reader.learning.prior)
    decisions = [write.event.decision for write in reading.writes]
    columns = reading.steps
    figures = NanoFigures(
        seed=seed,
        mu=world.mu,
        frozen_mse=float(columns.baseline.mean()),
        adaptive_mse=float(columns.adaptive.mean()),
        oracle_mse=float(columns.oracle.mean()),
        mean_mu_mse=float(columns.mean_mu.mean()),
        refit_mse=float(refit_N.mean()),
        commits=decisions.count("committed"),
        rollbacks=len(decisions) - decisions.count("committed"),
        blocked=decisions.count("blocked"),
    )
    return Run(figures, reading, refit_N)


def refit_errors(model: NanoSSM, path: Trajectory, prior: float) -> Array:
    """Squared error a step of the base model with ``W_o`` solved anew after each block of 32 steps: ridge regression on
    all steps so far, its prior (variance ``prior``) at the base's. The solves are fp64."""
    h_CTD, y_CTO = _states(model, path)
    weight_OD = model.weights[W_O].double()
    error_CTO = y_CTO - h_CTD @ weight_OD.T
    gram_CDD = (h_CTD.mT @ h_CTD).cumsum(0) + torch.eye(h_CTD.shape[-1], dtype=torch.float64) / prior
    shift_CDO = torch.linalg.solve(gram_CDD, (h_CTD.mT @ error_CTO).cumsum(0))
    error_CTO[1:] -= h_CTD[1:] @ shift_CDO[:-1]
    return error_CTO.square().mean(-1).flatten()[: len(path)].numpy()


def _states(model: NanoSSM, path: Trajectory) -> tuple[Tensor, Tensor]:
    """``(h_CTD, y_CTO)`` of the base model, fp64, zeros behind the last step."""
    blocks = -(-len(path) // CHUNK)
    x_NJ, y_NO = model.inputs(path.vel[:-1], path.action), targets(path.vel)
    x_NJ, y_NO = (np.pad(a, ((0, blocks * CHUNK - len(path)), (0, 0))) for a in (x_NJ, y_NO))
    weights, h_BD, found = model.init_weights(1), model.a_raw.new_zeros(1, model.config.states), []
    for x_BTJ in torch.from_numpy(x_NJ)[None].split(_BLOCKS_AT_ONCE * CHUNK, 1):
        h_BCDT = model.hidden(weights, model.filtered(x_BTJ)[0], h_BD)
        h_BD = h_BCDT[:, -1, :, -1]
        found.append(h_BCDT[0].mT)
    h_CTD = torch.cat(found).double()
    y_CTO = torch.from_numpy(y_NO).view(blocks, CHUNK, -1).double()
    y_CTO.flatten(0, 1)[len(path) :] = 0
    h_CTD.flatten(0, 1)[len(path) :] = 0
    return h_CTD, y_CTO


def score(
    model: NanoSSM,
    learning: NanoLearning,
    mode: Mode,
    seeds: Sequence[int],
    *,
    steps: int = 1000,
    noise: float = 0.0,
    note: Callable[[int], None] = lambda _: None,
) -> NanoScore:
    """One rule in one mode over ``seeds``; ``note`` is told after each."""
    reader = NanoReader(model, learning)
    started, found = time.process_time(), []
    for seed in seeds:
        found.append(run(reader, mode, seed, steps, noise).figures)
        note(seed)
    spent = time.process_time() - started
    frozen_S, adaptive_S, oracle_S, mean_mu_S, refit_S = (
        np.array([getattr(one, f"{name}_mse") for one in found])
        for name in ("frozen", "adaptive", "oracle", "mean_mu", "refit")
    )
    wins = int((adaptive_S < frozen_S).sum())
    return NanoScore(
        rule=learning.rule,
        mode=mode,
        runs=len(found),
        wins=wins,
        win_rate=wins / len(found),
        win_rate_ci=wilson(wins, len(found)),
        gap_closed=gap_closed(frozen_S, adaptive_S, oracle_S),
        gap_closed_ci=bootstrap(gap_closed, frozen_S, adaptive_S, oracle_S),
        refit_gap_closed=gap_closed(frozen_S, refit_S, oracle_S),
        frozen_mse=float(frozen_S.mean()),
        adaptive_mse=float(adaptive_S.mean()),
        oracle_mse=float(oracle_S.mean()),
        mean_mu_mse=float(mean_mu_S.mean()),
        refit_mse=float(refit_S.mean()),
        frozen_over_mean_mu=_ratio(frozen_S, mean_mu_S),
        frozen_over_mean_mu_ci=bootstrap(_ratio, frozen_S, mean_mu_S),
        commits=sum(one.commits for one in found),
        rollbacks=sum(one.rollbacks for one in found),
        steps_per_cpu_second=steps * len(found) / max(spent, 1e-9),
        per_seed=found,
    )


def gap_closed(frozen_S: Array, adaptive_S: Array, oracle_S: Array) -> float:
    """``(frozen - adaptive) / (frozen - oracle)`` of the means: 1 predicts like the oracle, below 0 harms."""
    return float((frozen_S.mean() - adaptive_S.mean()) / (frozen_S.mean() - oracle_S.mean()))


def bootstrap(figure: Callable[..., float], *samples_S: Array) -> tuple[float, float]:
    """95 % percentile interval of a figure of paired samples (Efron, 1979); seeded, so that it repeats."""
    generator, count = np.random.default_rng(0), len(samples_S[0])
    drawn = [
        figure(*(sample_S[index] for sample_S in samples_S))
        for index in generator.integers(0, count, (_RESAMPLES, count))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return low, high


def wilson(wins: int, runs: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson, 1927)."""
    rate, square = wins / runs, _Z**2 / runs
    middle = (rate + square / 2) / (1 + square)
    half = _Z / (1 + square) * (rate * (1 - rate) / runs + square / (4 * runs)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _ratio(a_S: Array, b_S: Array) -> float:
    return float(a_S.mean() / b_S.mean())
