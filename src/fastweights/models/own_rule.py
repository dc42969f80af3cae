"""Models that learn as they read, by a rule of their own: TTT-Linear and TTT-MLP (closed form), TTT-E2E (gradient)."""

from torch import nn

from fastweights.core.learner import GradientLearner
from fastweights.models.e2e import E2EReader, E2ETransformer, e2e_learner
from fastweights.models.recurrent_learner import RecurrentLearner, learns_itself

OwnReader = RecurrentLearner | E2EReader
"""What reads: it has ``lm_carry`` and ``skim``, and ``loss_through`` for those who look inside."""


def own_learner(lm: nn.Module, bos: int) -> tuple[OwnReader, RecurrentLearner | GradientLearner] | None:
    """The reader of such a model, and the learner; None for other models."""
    if isinstance(lm, E2ETransformer):
        learner = e2e_learner(lm, bos)
        assert isinstance(learner.model, E2EReader)
        return learner.model, learner
    if learns_itself(lm):
        own = RecurrentLearner(lm, bos)
        return own, own
    return None
