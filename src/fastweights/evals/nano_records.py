"""What an evaluation of Nano says, as JSON. Torch-free."""

from pydantic import BaseModel, ConfigDict

from fastweights.data.physics import Mode
from fastweights.models.nano_config import Rule

FIRST_SEED = 1000
TUNED_ON = "seeds 0 to 19 (rates, priors, the input's scales); base models are trained on worlds of their own"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class NanoFigures(_Record):
    """One trajectory: mean squared errors, one step ahead, over steps, position and velocity."""

    seed: int
    mu: float
    frozen_mse: float  # the base model, never written to
    adaptive_mse: float  # each step under the weights that the steps before it made
    oracle_mse: float  # the simulator with the true mu: 0 without noise
    mean_mu_mse: float  # the simulator with the mean mu
    refit_mse: float  # the base model, W_o solved anew every 32 steps from all steps so far
    commits: int
    rollbacks: int  # every refused write
    blocked: int  # those of them that were refused before a candidate was made


class NanoScore(_Record):
    """One rule in worlds of one mode, over all seeds. Intervals hold 95 %: bootstrap over seeds, Wilson for wins."""

    rule: Rule
    mode: Mode
    runs: int
    wins: int  # runs in which adapting predicts better than the frozen base
    win_rate: float
    win_rate_ci: tuple[float, float]
    gap_closed: float  # share of the gap between the mean frozen and the mean oracle error
    gap_closed_ci: tuple[float, float]
    refit_gap_closed: float
    frozen_mse: float
    adaptive_mse: float
    oracle_mse: float
    mean_mu_mse: float
    refit_mse: float
    frozen_over_mean_mu: float  # how good the base is: 1 knows the mean mu and nothing else
    frozen_over_mean_mu_ci: tuple[float, float]
    commits: int
    rollbacks: int
    steps_per_cpu_second: float
    per_seed: list[NanoFigures]


class NanoEvaluation(_Record):
    """The whole of ``fastweights eval nano``."""

    default_rule: Rule
    steps: int
    noise: float
    first_seed: int
    seeds: int
    tuned_on: str
    scores: list[NanoScore]
    base: dict[Mode, str]  # SHA-256 of each base model's checkpoint
    cpu_seconds: float
