"""A point mass whose friction is hidden: position and velocity are seen, mu is not, the action is an acceleration.

``vel' = (1 - mu_eff) vel + action + noise * N(0, I); pos' = pos + vel'``. Linear: ``mu_eff = mu``. Nonlinear (it sticks
when slow): ``mu_eff = min(0.95, 2 mu)`` where ``|vel| < 2 mu``, else ``mu / 2``. The noise is a random force, so the
simulator with the true mu is the best predictor there is. All fp64. Legend: T steps; the last axis is (x, y).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fastweights.errors import FastweightsError

Mode = Literal["linear", "nonlinear"]
Array = NDArray[np.float64]
MODES: tuple[Mode, ...] = get_args(Mode)
MU_RANGE = (0.02, 0.25)
MEAN_MU = sum(MU_RANGE) / 2
ACTION_SCALE = 0.5
_STICKIEST = 0.95


@dataclass(frozen=True)
class World:
    """Where a trajectory stands, its generator included: what comes next is a function of this value."""

    mode: Mode
    mu: float
    noise: float
    step: int
    pos: tuple[float, float]
    vel: tuple[float, float]
    generator: tuple[int, int]
    """State and increment of a PCG64, 128 bits each."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; floats survive exactly."""
        return {
            "mode": self.mode,
            "mu": self.mu,
            "noise": self.noise,
            "step": self.step,
            "pos": list(self.pos),
            "vel": list(self.vel),
            "generator": [f"{word:032x}" for word in self.generator],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "World":
        state, increment = (int(word, 16) for word in data["generator"])
        return World(
            data["mode"],
            float(data["mu"]),
            float(data["noise"]),
            int(data["step"]),
            (float(data["pos"][0]), float(data["pos"][1])),
            (float(data["vel"][0]), float(data["vel"][1])),
            (state, increment),
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """T steps: states before and after each, ``[T + 1, 2]``, and what was done, ``[T, 2]``."""

    pos: Array
    vel: Array
    action: Array

    def __len__(self) -> int:
        return len(self.action)


def start(mode: Mode, seed: int, *, noise: float = 0.0, mu: float | None = None) -> World:
    """At rest in the origin. The seed gives mu (unless it is given) and all actions, whatever the noise and mode."""
    if mode not in MODES:
        raise FastweightsError(f"mode {mode!r} is not known: use one of {', '.join(MODES)}")
    if not (math.isfinite(noise) and noise >= 0):
        raise FastweightsError(f"noise is {noise}: give a standard deviation of at least 0")
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    drawn = float(generator.uniform(*MU_RANGE))
    mu = drawn if mu is None else mu
    if not 0 <= mu <= 1:
        raise FastweightsError(f"mu is {mu}: friction lies in [0, 1], the worlds that are drawn in {MU_RANGE}")
    return World(mode, mu, noise, 0, (0.0, 0.0), (0.0, 0.0), _words(generator))


def advance(world: World, steps: int) -> tuple[World, Trajectory]:
    """The next ``steps`` steps. In how many calls a trajectory is made changes no bit of it."""
    return Walk(world).advance(steps)


class Walk:
    """On the way through a world, piece by piece; ``world`` is where it stands."""

    def __init__(self, world: World) -> None:
        self.world = world
        bits = np.random.PCG64(0)
        state, increment = world.generator
        words = {"state": state, "inc": increment}
        whole: Any = {"bit_generator": "PCG64", "state": words, "has_uint32": 0, "uinteger": 0}
        bits.state = whole
        self._generator = np.random.Generator(bits)

    def advance(self, steps: int) -> tuple[World, Trajectory]:
        """:func:`advance` from :attr:`world`, which moves on."""
        world = self.world
        drawn_T4 = self._generator.standard_normal((steps, 4))
        action_T2 = ACTION_SCALE * drawn_T4[:, :2]
        push_T2 = action_T2 + world.noise * drawn_T4[:, 2:]
        (px, py), (vx, vy) = world.pos, world.vel
        pos, vel = [(px, py)], [(vx, vy)]
        linear, mu = world.mode == "linear", world.mu
        slow, stick, slide = 2 * mu, 1 - min(_STICKIEST, 2 * mu), 1 - mu / 2
        keep = 1 - mu
        for ax, ay in push_T2.tolist():
            if not linear:
                keep = stick if math.sqrt(vx * vx + vy * vy) < slow else slide
            vx, vy = keep * vx + ax, keep * vy + ay
            px, py = px + vx, py + vy
            pos.append((px, py))
            vel.append((vx, vy))
        self.world = World(world.mode, mu, world.noise, world.step + steps, (px, py), (vx, vy), _words(self._generator))
        return self.world, Trajectory(np.array(pos), np.array(vel), action_T2)


def effective_friction(mode: Mode, mu: float | Array, vel: Array) -> Array:
    """What brakes a body at a velocity ``[..., 2]`` under a friction of ``mu`` (it broadcasts): ``[..., 1]``."""
    mu_1 = np.asarray(mu, dtype=np.float64)[..., None]
    if mode == "linear":
        return mu_1
    speed_1 = np.sqrt(vel[..., :1] ** 2 + vel[..., 1:] ** 2)
    return np.where(speed_1 < 2 * mu_1, np.minimum(_STICKIEST, 2 * mu_1), mu_1 / 2)


def next_velocity(mode: Mode, mu: float | Array, vel: Array, action: Array) -> Array:
    """The simulator's own prediction under a friction of ``mu`` (it broadcasts), without noise: ``[..., 2]``."""
    return (1 - effective_friction(mode, mu, vel)) * vel + action


def simulator_errors(mode: Mode, mu: float | Array, trajectory: Trajectory) -> Array:
    """Squared error of the simulator with a friction of ``mu``, one step ahead, mean over pos and vel: ``[..., T]``."""
    mu_1 = np.asarray(mu, dtype=np.float64)[..., None]
    error_T2 = next_velocity(mode, mu_1, trajectory.vel[:-1], trajectory.action) - trajectory.vel[1:]
    return (error_T2**2).mean(-1)  # the position is off by as much as the velocity


def many(mode: Mode, count: int, steps: int, seed: int, noise: float = 0.0) -> tuple[Array, Array, Array]:
    """``count`` worlds side by side, each with its own mu, at rest at first: ``(mu_N, vel_NT2, action_NT2)``.

    ``vel`` has ``steps + 1`` entries. For training: its draws differ from those of :func:`start` and :func:`advance`.
    """
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, count, steps))))
    mu_N = generator.uniform(*MU_RANGE, count)
    action_NT2 = ACTION_SCALE * generator.standard_normal((count, steps, 2))
    push_NT2 = action_NT2 + noise * generator.standard_normal((count, steps, 2)) if noise else action_NT2
    vel_NT2 = np.zeros((count, steps + 1, 2))
    for t in range(steps):
        vel_NT2[:, t + 1] = next_velocity(mode, mu_N, vel_NT2[:, t], push_NT2[:, t])
    return mu_N, vel_NT2, action_NT2


def _words(generator: np.random.Generator) -> tuple[int, int]:
    state = generator.bit_generator.state["state"]
    return int(state["state"]), int(state["inc"])
