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


class _Learned(NamedTuple):
    """A chunk's write, fp64."""

    weight_BOD: Tensor
    information_BDD: Tensor
    noise_B2: Tensor
    innovations_BTO: Tensor


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


_FIRST_NOISE = 0.05  # counts as one step's squared innovation, before there is any
_INFORMATION, _NOISE = "information", "noise"


@dataclass(frozen=True)
class LeastSquaresLearner:
    """Writes its model's readout by recursive least squares, chunk by chunk; the other fast weights stay as they are.

    The inverse of the textbook's ``P`` is kept in two parts: ``information``, what the steps so far said, forgotten at
    a rate of ``forgetting`` a step, and a ridge that is never forgotten but stays around the current weight (stabilised
    forgetting, Milek & Kraus, 1995). So ``P`` stays below ``prior`` (``P_0``), also in directions without input.

    With ``spread``, the variance that the weights are thought to have, the ridge is ``noise / spread`` (at least
    ``1 / prior``): the noise of the targets is estimated from the innovations, and noisy targets are trusted less.

    A proposal's loss is that of the whole chunk under the weights before. A reader that wants each step predicted
    with all that came before it takes :meth:`innovations`.
    """

    model: ReadoutModel
    forgetting: float = 0.999
    prior: float = 1.0
    spread: float | None = None
    _latest: "list[tuple[Weights, Chunk, _Learned]]" = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 < self.forgetting <= 1:
            raise ValueError(f"forgetting is {self.forgetting}; it must lie in (0, 1]")
        if not self.prior > 0:
            raise ValueError(f"prior is {self.prior}; it must be positive")
        if self.spread is not None and not self.spread > 0:
            raise ValueError(f"spread is {self.spread}; it must be positive, or None")

    def init(self, batch: int = 1) -> FastState:
        weights = self.model.init_weights(batch)
        name, weight_BOD = self.model.readout, weights[self.model.readout]
        information_BDD = weight_BOD.new_zeros(batch, weight_BOD.shape[-1], weight_BOD.shape[-1])
        noise_B2 = weight_BOD.new_tensor([_FIRST_NOISE, 1.0]).repeat(batch, 1)  # of squares: their sum, their number
        rule = {_INFORMATION: {name: information_BDD}, _NOISE: {name: noise_B2}}
        return FastState(weights, rule, self.model.init_carry(batch))

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        return self._reader.prepare(chunk, carry)

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("recursive least squares has no graph: meta-learn through a gradient rule")
        chunk = self.prepare(chunk, state.carry)
        output, grads = self._reader.read(state, chunk)
        name = self.model.readout
        with torch.no_grad():
            found = self._learn(state, chunk)
            weight_BOD = state.weights[name]
            after_BOD = found.weight_BOD.to(weight_BOD.dtype)
            rule = {
                slot: {name: value.to(state.rule[slot][name].dtype)}
                for slot, value in ((_INFORMATION, found.information_BDD), (_NOISE, found.noise_B2))
            }
            after = FastState({**state.weights, name: after_BOD}, rule, output.carry, state.step + 1)
            delta = {other: torch.zeros_like(w) for other, w in state.weights.items()}
            delta[name] = after_BOD - weight_BOD
        return Proposal(state, delta, after, replace(state, carry=output.carry), output, self._own(grads))

    def innovations(self, state: FastState, chunk: Chunk) -> Tensor:
        """Target minus prediction ``[B, T, O]``, each step under the weight that the steps before it made (fp64)."""
        with torch.no_grad():
            return self._learn(state, self.prepare(chunk, state.carry)).innovations_BTO

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        return self._reader.score(state, chunk)

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """The gradient of what this learner writes; zero for the fast weights that it leaves alone."""
        loss_B, grads = self._reader.score_and_grad(state, chunk)
        return loss_B, self._own(grads)

    @property
    def _reader(self) -> GradientLearner:
        return GradientLearner(self.model, SGD())

    def _learn(self, state: FastState, chunk: Chunk) -> _Learned:
        """The latest is remembered by its very objects (they are values), since a reader asks twice."""
        for weights, seen, learned in self._latest:
            if weights is state.weights and seen is chunk:
                return learned
        name = self.model.readout
        given = self.model.regression(state.weights, chunk.inputs["features"], chunk, state.carry)
        steps, outputs = given.targets_BTO.shape[1:]
        information_BDD, noise_B2 = (state.rule[slot][name].double() for slot in (_INFORMATION, _NOISE))
        weight_BOD = state.weights[name].double()
        ridge_BDD = self._ridge(noise_B2, information_BDD)
        found = recursive_least_squares(weight_BOD, information_BDD + ridge_BDD, given, self.forgetting)
        kept = self.forgetting**steps
        information_BDD = found.precision_BDD - kept * ridge_BDD
        squares_B = found.innovations_BTO.square().sum((1, 2)) / outputs
        noise_B2 = kept * noise_B2 + torch.stack([squares_B, torch.full_like(squares_B, steps)], 1)
        after_BOD = found.weight_BOD
        if self.spread is not None:  # the same equations, with the ridge that the noise calls for now
            right_BDO = found.precision_BDD @ (after_BOD - weight_BOD).mT
            factor_BDD = _cholesky(information_BDD + self._ridge(noise_B2, information_BDD))
            after_BOD = weight_BOD + torch.cholesky_solve(right_BDO, factor_BDD).mT
        learned = _Learned(after_BOD, information_BDD, noise_B2, found.innovations_BTO)
        self._latest[:] = [(state.weights, chunk, learned)]
        return learned

    def _ridge(self, noise_B2: Tensor, like_BDD: Tensor) -> Tensor:
        ridge_B = torch.full_like(noise_B2[:, 0], 1 / self.prior)
        if self.spread is not None:
            ridge_B = torch.maximum(ridge_B, noise_B2[:, 0] / noise_B2[:, 1] / self.spread)
        return ridge_B[:, None, None] * torch.eye(like_BDD.shape[-1], dtype=like_BDD.dtype, device=like_BDD.device)

    def _own(self, grads: Weights) -> Weights:
        return {name: g if name == self.model.readout else torch.zeros_like(g) for name, g in grads.items()}
