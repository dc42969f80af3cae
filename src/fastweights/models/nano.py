"""NanoSSM: a diagonal state-space model of the point mass, whose input, state and output matrices are fast weights.

``h' = a * h + B W_u x; z = W_o h'`` with the frozen decay ``a = exp(-softplus(a_raw) dt)`` in (0, 1), so no fast weight
can make the recurrence unstable. Input: velocity (as it is, and where it is small) and action, scaled; target: the
change of position and velocity. (The position itself has no bounds and says nothing about what comes next.)

``h`` is linear in ``M = B W_u``: ``h_t = a^t h_0 + sum_j M_j F_tj`` with ``F`` the input filtered by every decay, which
no fast weight touches. So F is computed once a chunk, and all gradients are closed form.

Legend: B sequences, C blocks of T steps, D hidden states, K width between, J inputs, O outputs, R replayed steps.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastweights.core.learner import InnerOutput
from fastweights.core.least_squares import Regression
from fastweights.core.state import Chunk, Weights
from fastweights.models.nano_config import CHUNK, MAX_RAW, NanoConfig

INPUTS, OUTPUTS = 6, 4
W_U, B, W_O = "W_u", "B", "W_o"
PLASTIC = (W_U, B, W_O)
A_RAW = "a_raw"
_REMEMBERED = 3  # reads: the chunk before and after a write, and the canaries
_TINY = 1e-30  # powers below this are 0: subnormal numbers are slow


class Filters(NamedTuple):
    """Powers of the decays, for C blocks of T steps."""

    kernel_TDT: Tensor  # [s, d, t]: a_d^(t - s) where t >= s
    powers_CDT: Tensor  # a_d^(n + 1), n counted over all blocks


class Blocks(NamedTuple):
    """A chunk (with the steps replayed before it) as the fast weights see it."""

    filtered_BCJDT: Tensor  # from zero at the start of the window
    last_BJDT: Tensor  # of the chunk itself, from zero at its start
    targets_BCOT: Tensor
    share_BC1T: Tensor  # of each error in the loss: 0 where there is nothing
    start_BD: Tensor  # hidden state at the start of the window


class Read(NamedTuple):
    """What the fast weights made of it."""

    mixed_BJD: Tensor  # M, transposed
    h_BCDT: Tensor
    error_BCOT: Tensor  # prediction minus target


class NanoSSM:
    """The model, with its trained weights as the initial fast weights. ``replay``: steps that a loss looks back on."""

    def __init__(self, config: NanoConfig, weights: Mapping[str, Tensor], replay: int = CHUNK) -> None:
        self.config, self.replay = config, replay
        self.weights = {name: weights[name] for name in PLASTIC}
        self.a_raw = weights[A_RAW]
        shapes = {name: tuple(w.shape) for name, w in weights.items()}
        if shapes != (wanted := shapes_of(config)):
            raise ValueError(f"Nano weights are {shapes}, the config says {wanted}")
        if not bool((self.a_raw.abs() <= MAX_RAW).all()):
            raise ValueError(f"a_raw reaches {float(self.a_raw.abs().max()):g}; it must lie within +-{MAX_RAW:g}")
        self.filters = functools.cache(self._filters)
        self._latest: tuple[tuple[Weights, Blocks, Read], ...] = ()

    readout = W_O

    # ------------------------------------------------------------------ what a learner asks for

    def init_weights(self, batch: int) -> Weights:
        return {name: w.unsqueeze(0).repeat(batch, 1, 1) for name, w in self.weights.items()}

    def init_carry(self, batch: int) -> dict[str, Tensor]:
        """Hidden state 0; with a replay window also the steps in it, which are none."""
        zeros = functools.partial(self.a_raw.new_zeros, (batch,))
        carry = {"h": self.a_raw.new_zeros(batch, self.config.states)}
        if past := self.replay - CHUNK:
            carry["x"] = self.a_raw.new_zeros(batch, past, INPUTS)
            carry["y"] = self.a_raw.new_zeros(batch, past, OUTPUTS)
            carry["starts"] = self.a_raw.new_zeros(batch, past // CHUNK, self.config.states)
            carry["rows"] = zeros(dtype=torch.int64)
        return carry

    def encode(self, chunk: Chunk, carry: Mapping[str, Tensor]) -> Blocks:
        """``chunk.inputs`` has ``x_BTJ`` and ``y_BTO``. Where the carry has a window, its steps come first."""
        x_BTJ, y_BTO = chunk.inputs["x"], chunk.inputs["y"]
        length, count_B, start_BD = x_BTJ.shape[1], chunk.mask_BT.sum(1), carry["h"]
        mask_BN = chunk.mask_BT
        if "x" in carry:
            past = carry["x"].shape[1]
            seen_BN = torch.arange(past) >= past - carry["rows"][:, None]
            x_BTJ, y_BTO = torch.cat([carry["x"], x_BTJ], 1), torch.cat([carry["y"], y_BTO], 1)
            mask_BN = torch.cat([seen_BN, mask_BN], 1)
            count_B, start_BD = mask_BN.sum(1), carry["starts"][:, 0]
        filtered_BCJDT, last_BJDT = self.filtered(x_BTJ, length)
        share_BN = mask_BN / (OUTPUTS * count_B.clamp(min=1)[:, None])
        return Blocks(
            filtered_BCJDT,
            last_BJDT,
            y_BTO.unflatten(1, (-1, length)).mT,
            share_BN.unflatten(1, (-1, 1, length)),
            start_BD,
        )

    def forward(self, weights: Weights, features: Blocks, chunk: Chunk, carry: Mapping[str, Tensor]) -> InnerOutput:
        """Mean squared error over the window's steps and the outputs, and the carry after the chunk."""
        found = self.read(weights, features)
        loss_B = (features.share_BC1T * found.error_BCOT.square()).sum((1, 2, 3))
        return InnerOutput(loss_B, self._carry_after(found, features, chunk, carry))

    def closed_form(
        self, weights: Weights, features: Blocks, chunk: Chunk, carry: Mapping[str, Tensor], *, grad: bool
    ) -> tuple[InnerOutput, Weights | None]:
        found = self.read_once(weights, features)
        weighted_BCOT = features.share_BC1T * found.error_BCOT
        loss_B = (weighted_BCOT * found.error_BCOT).sum((1, 2, 3))
        output = InnerOutput(loss_B, self._carry_after(found, features, chunk, carry))
        if not grad:
            return output, None
        g_BCOT = 2 * weighted_BCOT
        g_BCDT = torch.matmul(weights[W_O].mT.unsqueeze(1), g_BCOT)
        mixed_BDJ = (g_BCDT.unsqueeze(2) * features.filtered_BCJDT).sum((1, 4)).mT
        return output, {
            W_U: weights[B].mT @ mixed_BDJ,
            B: mixed_BDJ @ weights[W_U].mT,
            W_O: torch.matmul(g_BCOT, found.h_BCDT.mT).sum(1),
        }

    def regression(self, weights: Weights, features: Blocks, chunk: Chunk, carry: Mapping[str, Tensor]) -> Regression:
        """The hidden states of the chunk (from the live one on) and its targets."""
        if "x" in carry:
            h_BDT = self.hidden(weights, features.last_BJDT.unsqueeze(1), carry["h"])[:, 0]
        else:
            h_BDT = self.read_once(weights, features).h_BCDT[:, 0]
        return Regression(h_BDT.mT, features.targets_BCOT[:, -1].mT)

    # ------------------------------------------------------------------ reading

    def read(self, weights: Weights, features: Blocks) -> Read:
        """Hidden states and errors of every step; sequences of ``weights`` and ``features`` broadcast."""
        mixed_BJD = (weights[B] @ weights[W_U]).mT
        h_BCDT = self._states(mixed_BJD, features.filtered_BCJDT, features.start_BD)
        return Read(mixed_BJD, h_BCDT, torch.matmul(weights[W_O].unsqueeze(1), h_BCDT) - features.targets_BCOT)

    def filtered(self, x_BTJ: Tensor, length: int = CHUNK) -> tuple[Tensor, Tensor]:
        """The input filtered by every decay, in blocks of ``length`` steps: ``[B, C, J, D, T]`` from zero at the first
        step, and ``[B, J, D, T]``, the last block from zero at its own start."""
        x_BCJT = x_BTJ.unflatten(1, (-1, length)).mT
        filters = self.filters(x_BCJT.shape[1], length)
        within_BCJDT = torch.matmul(x_BCJT, filters.kernel_TDT.flatten(1)).unflatten(-1, (-1, length))
        return self._across(within_BCJDT, filters.powers_CDT[0]), within_BCJDT[:, -1]

    def read_once(self, weights: Weights, features: Blocks) -> Read:
        """:meth:`read` without a graph; learner and guard ask for the same one after the other (they are values)."""
        for seen, blocks, found in self._latest:
            if seen is weights and blocks is features:
                return found
        with torch.no_grad():
            found = self.read(weights, features)
        self._latest = (*self._latest[1 - _REMEMBERED :], (weights, features, found))
        return found

    def hidden(self, weights: Weights, filtered_BCJDT: Tensor, start_BD: Tensor) -> Tensor:
        """Every hidden state ``[B, C, D, T]`` from ``start_BD`` on, of an input from :meth:`filtered`."""
        return self._states((weights[B] @ weights[W_U]).mT, filtered_BCJDT, start_BD)

    def step(self, weights: Weights, h_BD: Tensor, x_BJ: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the recurrence as it is written: ``(prediction_BO, h_BD)``. The slow twin of all the above."""
        u_BD = torch.einsum("bdk,bkj,bj->bd", weights[B], weights[W_U], x_BJ)
        h_BD = self.decay_D.to(h_BD) * h_BD + u_BD
        return torch.einsum("bod,bd->bo", weights[W_O], h_BD), h_BD

    @property
    def decay_D(self) -> Tensor:
        return torch.exp(-torch.nn.functional.softplus(self.a_raw) * self.config.dt)

    def inputs(self, vel_T2: NDArray[np.float64], action_T2: NDArray[np.float64]) -> NDArray[np.float32]:
        """The model's input ``[..., J]`` of velocities and actions, fp32."""
        c = self.config
        square_T1 = vel_T2[..., :1] ** 2 + vel_T2[..., 1:] ** 2
        slow_T2 = c.slow_scale * np.exp(-((square_T1 / c.slow_speed**2) ** 2)) * vel_T2
        return np.concatenate([c.vel_scale * vel_T2, slow_T2, c.action_scale * action_T2], -1).astype(np.float32)

    # ------------------------------------------------------------------ inside

    def _filters(self, blocks: int, length: int) -> Filters:
        steps = torch.arange(length)
        log_D = -torch.nn.functional.softplus(self.a_raw.double()) * self.config.dt
        age_TT = steps[None, :] - steps[:, None]
        kernel_TDT = torch.exp(log_D[None, :, None] * age_TT[:, None, :].clamp(min=0)) * (age_TT >= 0)[:, None, :]
        ages_CT = torch.arange(1, blocks * length + 1).view(blocks, length)
        powers_CDT = torch.exp(log_D[:, None] * ages_CT[:, None, :])
        return Filters(*(torch.where(f < _TINY, 0, f).to(self.a_raw.dtype) for f in (kernel_TDT, powers_CDT)))

    @staticmethod
    def _across(within_BCJDT: Tensor, powers_DT: Tensor) -> Tensor:
        """Blocks that each begin at zero -> blocks that go on from one another."""
        blocks = within_BCJDT.shape[1]
        if blocks == 1:
            return within_BCJDT
        state_BJD, before = torch.zeros_like(within_BCJDT[:, 0, ..., 0]), []
        for c in range(blocks):
            before.append(state_BJD)
            state_BJD = torch.addcmul(within_BCJDT[:, c, ..., -1], powers_DT[:, -1], state_BJD)
        return torch.addcmul(within_BCJDT, torch.stack(before, 1).unsqueeze(-1), powers_DT)

    def _states(self, mixed_BJD: Tensor, filtered_BCJDT: Tensor, start_BD: Tensor) -> Tensor:
        powers_CDT = self.filters(filtered_BCJDT.shape[1], filtered_BCJDT.shape[-1]).powers_CDT
        forced_BCDT = (mixed_BJD[:, None, :, :, None] * filtered_BCJDT).sum(2)
        return torch.addcmul(forced_BCDT, powers_CDT, start_BD[:, None, :, None])

    def _carry_after(
        self, found: Read, features: Blocks, chunk: Chunk, carry: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if "x" not in carry:
            return {"h": found.h_BCDT[:, -1, :, -1]}
        length = chunk.mask_BT.shape[1]
        forced_BD = (found.mixed_BJD * features.last_BJDT[..., -1]).sum(1)
        live_BD = torch.addcmul(forced_BD, self.filters(1, length).powers_CDT[0, :, -1], carry["h"])
        past = carry["x"].shape[1]
        return {
            "h": live_BD,
            "x": torch.cat([carry["x"], chunk.inputs["x"]], 1)[:, -past:],
            "y": torch.cat([carry["y"], chunk.inputs["y"]], 1)[:, -past:],
            "starts": torch.cat([carry["starts"][:, 1:], carry["h"].unsqueeze(1)], 1),
            "rows": (carry["rows"] + length).clamp(max=past),
        }


def shapes_of(config: NanoConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a NanoSSM by name."""
    return {
        W_U: (config.mixed, INPUTS),
        B: (config.states, config.mixed),
        W_O: (OUTPUTS, config.states),
        A_RAW: (config.states,),
    }


def targets(vel_T2: NDArray[np.float64]) -> NDArray[np.float32]:
    """Change of (pos, vel) at each of the T steps between T + 1 velocities: ``[..., T, O]``, fp32."""
    after_T2 = vel_T2[..., 1:, :]
    return np.concatenate([after_T2, after_T2 - vel_T2[..., :-1, :]], -1).astype(np.float32)


def nano_chunk(x_BTJ: Tensor, y_BTO: Tensor) -> Chunk:
    """Steps of trajectories as a chunk; it has no tokens."""
    empty_BT = torch.zeros(x_BTJ.shape[:2], dtype=torch.int64)
    return Chunk(empty_BT, empty_BT, torch.ones_like(empty_BT, dtype=torch.bool), inputs={"x": x_BTJ, "y": y_BTO})
