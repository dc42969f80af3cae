"""Recursive least squares: the fast weight that is linear in the targets is solved for, not descended on.

Legend: B sequences, T steps of a chunk, D regressors, O outputs. The solves are fp64; what is stored keeps its dtype.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastweights.core.learner import ClosedForm, FastModel, GradientLearner, InnerOutput, Proposal
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, FastState, Weights


class Regression(NamedTuple):
    """``targets_BTO ~ regressors_BTD @ weight_BOD.mT``; the regressors do not depend on that weight."""

    regressors_BTD: Tensor
    targets_BTO: Tensor


class ReadoutModel(FastModel, Protocol):
    """A model that is linear in one of its fast weights, ``[B, O, D]``; its loss is the mean squared error of that."""

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
    before.
    """
    weight_BOD, precision_BDD, given = weight_BOD.double(), precision_BDD.double(), _double(given)
    innovations_BTO = innovations(weight_BOD, precision_BDD, given, forgetting)
    precision_BDD, pull_BDO = absorb(weight_BOD, precision_BDD, given, forgetting)
    return Update(solved(weight_BOD, precision_BDD, pull_BDO), precision_BDD, innovations_BTO)


def innovations(weight_BOD: Tensor, precision_BDD: Tensor, given: Regression, forgetting: float) -> Tensor:
    """``[B, T, O]``: of all steps in one triangular solve, as the Cholesky factor of their covariance whitens them
    (Kailath, 1968). fp64."""
    factor_BDD = _cholesky(precision_BDD)
    whitened_BDT = torch.linalg.solve_triangular(factor_BDD, given.regressors_BTD.mT, upper=False)
    spread_BTT = whitened_BDT.mT @ whitened_BDT
    spread_BTT.diagonal(dim1=-2, dim2=-1).add_(_weights_T(given, forgetting)[0])
    factor_BTT = _cholesky(spread_BTT)
    error_BTO = given.targets_BTO - given.regressors_BTD @ weight_BOD.mT
    solved_BTO = torch.linalg.solve_triangular(factor_BTT, error_BTO, upper=False)
    return solved_BTO * factor_BTT.diagonal(dim1=-2, dim2=-1)[..., None]


def absorb(weight_BOD: Tensor, precision_BDD: Tensor, given: Regression, forgetting: float) -> tuple[Tensor, Tensor]:
    """The precision after T steps, and their pull ``[B, D, O]`` on the weight before. fp64."""
    h_BTD = given.regressors_BTD
    weighted_BDT = (h_BTD * _weights_T(given, forgetting)[1][:, None]).mT
    error_BTO = given.targets_BTO - h_BTD @ weight_BOD.mT
    return forgetting ** h_BTD.shape[1] * precision_BDD + weighted_BDT @ h_BTD, weighted_BDT @ error_BTO


def solved(weight_BOD: Tensor, precision_BDD: Tensor, pull_BDO: Tensor) -> Tensor:
    """The weight that gives in to the pull as far as the precision lets it."""
    return weight_BOD + torch.cholesky_solve(pull_BDO, _cholesky(precision_BDD)).mT


def _double(given: Regression) -> Regression:
    return Regression(given.regressors_BTD.double(), given.targets_BTO.double())


def _weights_T(given: Regression, forgetting: float) -> tuple[Tensor, Tensor]:
    """``forgetting`` to the power of 1 … T, and of T - 1 … 0."""
    rising_T, falling_T = _powers(given.regressors_BTD.shape[1], forgetting)
    return rising_T.to(given.regressors_BTD.device), falling_T.to(given.regressors_BTD.device)


@functools.lru_cache
def _powers(steps: int, forgetting: float) -> tuple[Tensor, Tensor]:
    powers_T = forgetting ** torch.arange(steps + 1, dtype=torch.float64)
    return powers_T[1:].clone(), powers_T[:-1].flip(0)


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
        name = self.model.readout
        with torch.no_grad():
            output = self._output(state, chunk)
            grads = self._grads(state, chunk)
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
        return Proposal(state, delta, after, replace(state, carry=output.carry), output, grads)

    def innovations(self, state: FastState, chunk: Chunk) -> Tensor:
        """Target minus prediction ``[B, T, O]``, each step under the weight that the steps before it made (fp64)."""
        with torch.no_grad():
            return self._learn(state, self.prepare(chunk, state.carry)).innovations_BTO

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        with torch.no_grad():
            return self._output(state, self.prepare(chunk, state.carry)).loss_B

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        """The gradient of what this learner writes; zero for the fast weights that it leaves alone."""
        chunk = self.prepare(chunk, state.carry)
        with torch.no_grad():
            return self._output(state, chunk).loss_B, self._grads(state, chunk)

    @property
    def _reader(self) -> GradientLearner:
        return GradientLearner(self.model, SGD())

    def _output(self, state: FastState, chunk: Chunk) -> InnerOutput:
        features, model = chunk.inputs["features"], self.model
        if isinstance(model, ClosedForm):
            return model.closed_form(state.weights, features, chunk, state.carry, grad=False)[0]
        return self.model.forward(state.weights, features, chunk, state.carry)

    def _grads(self, state: FastState, chunk: Chunk) -> Weights:
        name = self.model.readout
        given = self.model.regression(state.weights, chunk.inputs["features"], chunk, state.carry)
        error_BTO = given.regressors_BTD @ state.weights[name].mT - given.targets_BTO
        grad_BOD = 2 / error_BTO[0].numel() * error_BTO.mT @ given.regressors_BTD
        return {other: grad_BOD if other == name else torch.zeros_like(w) for other, w in state.weights.items()}

    def _learn(self, state: FastState, chunk: Chunk) -> _Learned:
        """The latest is remembered by its very objects (they are values), since a reader asks twice."""
        for weights, seen, learned in self._latest:
            if weights is state.weights and seen is chunk:
                return learned
        name = self.model.readout
        given = _double(self.model.regression(state.weights, chunk.inputs["features"], chunk, state.carry))
        steps, outputs = given.targets_BTO.shape[1:]
        information_BDD, noise_B2 = (state.rule[slot][name].double() for slot in (_INFORMATION, _NOISE))
        weight_BOD = state.weights[name].double()
        ridged_BDD = self._ridged(information_BDD, noise_B2)
        found_BTO = innovations(weight_BOD, ridged_BDD, given, self.forgetting)
        kept, squares_B = self.forgetting**steps, found_BTO.square().sum((1, 2)) / outputs
        noise_B2 = kept * noise_B2 + torch.stack([squares_B, torch.full_like(squares_B, steps)], 1)
        after_BDD, pull_BDO = absorb(weight_BOD, information_BDD, given, self.forgetting)
        if self.spread is None:  # plain: the ridge is forgotten like the rest, and put back once the write is made
            write_BDD = after_BDD + kept * (ridged_BDD - information_BDD)
        else:  # the ridge that the noise calls for now
            write_BDD = self._ridged(after_BDD, noise_B2)
        learned = _Learned(solved(weight_BOD, write_BDD, pull_BDO), after_BDD, noise_B2, found_BTO)
        self._latest[:] = [(state.weights, chunk, learned)]
        return learned

    def _ridged(self, information_BDD: Tensor, noise_B2: Tensor) -> Tensor:
        ridge_B = torch.full_like(noise_B2[:, 0], 1 / self.prior)
        if self.spread is not None:
            ridge_B = torch.maximum(ridge_B, noise_B2[:, 0] / noise_B2[:, 1] / self.spread)
        ridged_BDD = information_BDD.clone()
        ridged_BDD.diagonal(dim1=-2, dim2=-1).add_(ridge_B[:, None])
        return ridged_BDD
