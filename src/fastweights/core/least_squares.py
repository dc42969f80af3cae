"""Recursive least squares: the fast weight that is linear in the targets is solved for, not descended on.

Legend: B sequences, T steps of a chunk, D regressors, O outputs. The solves are fp64; what is stored keeps its dtype.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastweights.core.learner import FastModel, GradientLearner, Proposal
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, FastState, Weights


class Regression(NamedTuple):
    """``targets_BTO ~ regressors_BTD @ weight_BOD.mT``; the regressors do not depend on that weight."""

    regressors_BTD: Tensor
    targets_BTO: Tensor


class ReadoutModel(FastModel, Protocol):
    """A model with mean squared error that is linear in one of its fast weights, ``[B, O, D]``."""

    @property
    def readout(self) -> str:
        """The name of that weight."""
        ...

    def regression(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> Regression:
        """What the chunk says about it, one row a step."""
        ...


class Update(NamedTuple):
    """After T steps of :func:`recursive_least_squares`."""

    weight_BOD: Tensor
    precision_BDD: Tensor
    innovations_BTO: Tensor
    """Target minus prediction, each under the weight of the step before."""


def recursive_least_squares(weight_BOD: Tensor, precision_BDD: Tensor, given: Regression, forgetting: float) -> Update:
    """T steps of recursive least squares at once (Plackett, 1950; with exponential forgetting), fp64.

    Equal to the textbook's loop over steps, whose ``P`` is the inverse of ``precision``. The weight after minimises
    ``sum_i forgetting^(T-i) |y_i - W h_i|^2 + forgetting^T (W - W_0) A_0 (W - W_0)'``, with ``A_0`` the precision
    before. The innovations of all steps are one triangular solve: they are what the Cholesky factor of their
    covariance whitens (Kailath, 1968).
    """
    h_BTD, y_BTO = given.regressors_BTD.double(), given.targets_BTO.double()
    weight_BOD, precision_BDD = weight_BOD.double(), precision_BDD.double()
    steps = h_BTD.shape[1]
    age_T = torch.arange(1, steps + 1, dtype=torch.float64, device=h_BTD.device)
    factor_BDD = _cholesky(precision_BDD)
    whitened_BDT = torch.linalg.solve_triangular(factor_BDD, h_BTD.mT, upper=False)
    spread_BTT = whitened_BDT.mT @ whitened_BDT + torch.diag(forgetting**age_T)
    chol_BTT = _cholesky(spread_BTT)
    error_BTO = y_BTO - h_BTD @ weight_BOD.mT
    solved_BTO = torch.linalg.solve_triangular(chol_BTT, error_BTO, upper=False)
    back_BTO = torch.linalg.solve_triangular(chol_BTT.mT, solved_BTO, upper=True)
    gain_BDO = torch.linalg.solve_triangular(factor_BDD.mT, whitened_BDT @ back_BTO, upper=True)
    weighted_BTD = h_BTD * (forgetting ** (steps - age_T))[:, None]
    return Update(
        weight_BOD + gain_BDO.mT,
        forgetting**steps * precision_BDD + h_BTD.mT @ weighted_BTD,
        solved_BTO * chol_BTT.diagonal(dim1=-2, dim2=-1)[..., None],
    )


def _cholesky(matrix_BNN: Tensor) -> Tensor:
    """NaN where there is no factor (input that is not finite): the guard refuses what comes of it."""
    factor_BNN, failed_B = torch.linalg.cholesky_ex(matrix_BNN)
    return factor_BNN.masked_fill(failed_B[:, None, None] != 0, torch.nan) if bool(failed_B.any()) else factor_BNN


@dataclass(frozen=True)
class LeastSquaresLearner:
    """Writes its model's readout by recursive least squares, chunk by chunk; the other fast weights stay as they are.

    The state of the rule is ``{"precision": {readout: A_BDD}}``, the inverse of the usual ``P``; ``prior`` is ``P_0``.
    After each chunk, what was forgotten of the prior is put back around the current weight (stabilised forgetting,
    Milek & Kraus, 1995), so that ``P`` never exceeds ``P_0`` in directions that the input does not excite.

    A proposal's loss is that of the whole chunk under the weights before. A reader that wants each step predicted
    with all that came before it takes :meth:`innovations`.
    """

    model: ReadoutModel
    forgetting: float = 0.999
    prior: float = 1.0
    _latest: "list[tuple[Weights, Chunk, Update]]" = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting is {self.forgetting}; it must lie in (0, 1]")
        if not self.prior > 0:
            raise ValueError(f"prior is {self.prior}; it must be positive")

    def init(self, batch: int = 1) -> FastState:
        weights = self.model.init_weights(batch)
        weight_BOD = weights[self.model.readout]
        eye_DD = torch.eye(weight_BOD.shape[-1], dtype=weight_BOD.dtype, device=weight_BOD.device)
        precision = {self.model.readout: (eye_DD / self.prior).repeat(batch, 1, 1)}
        return FastState(weights, {"precision": precision}, self.model.init_carry(batch))

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        return self._reader.prepare(chunk, carry)

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("recursive least squares has no graph: meta-learn through a gradient rule")
        chunk = self.prepare(chunk, state.carry)
        output, grads = self._reader.read(state, chunk)
        with torch.no_grad():
            found = self._update(state, chunk)
            name = self.model.readout
            weight_BOD, precision_BDD = state.weights[name], state.rule["precision"][name]
            steps = found.innovations_BTO.shape[1]
            restored = (1 - self.forgetting**steps) / self.prior
            precision = found.precision_BDD + restored * torch.eye(precision_BDD.shape[-1], dtype=torch.float64)
            after_BOD = found.weight_BOD.to(weight_BOD.dtype)
            after = FastState(
                {**state.weights, name: after_BOD},
                {"precision": {name: precision.to(precision_BDD.dtype)}},
                output.carry,
                state.step + 1,
            )
            delta = {other: torch.zeros_like(w) for other, w in state.weights.items()}
            delta[name] = after_BOD - weight_BOD
        return Proposal(state, delta, after, replace(state, carry=output.carry), output, self._own(grads))

    def innovations(self, state: FastState, chunk: Chunk) -> Tensor:
        """Target minus prediction ``[B, T, O]``, each step under the weight that the steps before it made (fp64)."""
        with torch.no_grad():
            return self._update(state, self.prepare(chunk, state.carry)).innovations_BTO

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        return self._reader.score(state, chunk)

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """The gradient of what this learner writes; zero for the fast weights that it leaves alone."""
        loss_B, grads = self._reader.score_and_grad(state, chunk)
        return loss_B, self._own(grads)

    @property
    def _reader(self) -> GradientLearner:
        return GradientLearner(self.model, SGD())

    def _update(self, state: FastState, chunk: Chunk) -> Update:
        """The latest is remembered by its very objects (they are values), since a reader asks twice."""
        for weights, seen, found in self._latest:
            if weights is state.weights and seen is chunk:
                return found
        given = self.model.regression(state.weights, chunk.inputs["features"], chunk, state.carry)
        name = self.model.readout
        found = recursive_least_squares(state.weights[name], state.rule["precision"][name], given, self.forgetting)
        self._latest[:] = [(state.weights, chunk, found)]
        return found

    def _own(self, grads: Weights) -> Weights:
        return {name: g if name == self.model.readout else torch.zeros_like(g) for name, g in grads.items()}
