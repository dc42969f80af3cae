"""The chat model's closed-form gradient equals autograd's, for every memory; so does the score."""

import pytest
import torch

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import SGD
from fastweights.core.state import Chunk, FastState
from fastweights.models.adapted_lm import AdaptedLM
from fastweights.models.memory.context_nets import LinearContext, LowRankContext
from tests.models.tiny_models import build

MEMORIES = {"linear": LinearContext(16), "low_rank": LowRankContext(16, 3)}


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize("name", MEMORIES)
def test_closed_form_equals_autograd(name: str, length: int) -> None:
    model = AdaptedLM(build("ssm").eval().requires_grad_(False), MEMORIES[name], bos=0)
    it = GradientLearner(model, SGD())
    generator = torch.Generator().manual_seed(0)
    weights = {
        k: torch.randn(w.shape, generator=generator, dtype=torch.float64) * 0.3
        for k, w in model.init_weights(3).items()
    }
    ids = torch.randint(0, 20, (3, length + 1), generator=generator)
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[1, length // 2 + 1 :] = False
    mask[2] = False  # nothing counts: loss and gradient 0
    chunk = Chunk(ids[:, :-1], ids[:, 1:], mask)
    state = FastState(weights, {}, model.init_carry(3))
    closed = it.propose(state, chunk)
    graph = it.propose(state, chunk, create_graph=True)
    torch.testing.assert_close(closed.output.loss_B, graph.output.loss_B.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(closed.output.loss_B, it.score(state, chunk), rtol=1e-12, atol=1e-12)
    assert closed.grads is not None
    assert graph.grads is not None
    for key, gradient in closed.grads.items():
        torch.testing.assert_close(gradient, graph.grads[key].detach(), rtol=1e-9, atol=1e-12)
        assert gradient[2].abs().max() == 0
    assert closed.grads[next(iter(closed.grads))].abs().max() > 0
