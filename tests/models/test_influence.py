"""Influence of a token: the norm of the loss's gradient at its embedding, checked by finite differences."""

import pytest
import torch

from fastweights.core.state import Chunk
from fastweights.core.tree import map_tree
from fastweights.models.adapted_lm import AdaptedLM
from fastweights.models.influence import influence_BT, loss_from_embedding
from fastweights.models.memory.context_nets import LinearContext
from fastweights.models.toy import DIM, ToyLM
from tests.models.tiny_models import build


@pytest.mark.parametrize("kind", ["toy ssm", "toy gru", "tiny ssm", "tiny gru"])
def test_equals_finite_differences(kind: str) -> None:
    family, backbone = kind.split()
    lm = ToyLM(backbone) if family == "toy" else build(backbone).eval().requires_grad_(False)  # type: ignore[arg-type]
    lm = lm.double()
    dim = DIM if family == "toy" else 16
    model = AdaptedLM(lm, LinearContext(dim), bos=0)
    generator = torch.Generator().manual_seed(0)
    weights = {"context.weight": torch.randn(1, dim, dim, generator=generator, dtype=torch.float64) * 0.1}
    ids = torch.randint(0, 20, (1, 7), generator=generator)
    chunk = Chunk(ids[:, :-1], ids[:, 1:], torch.ones(1, 6, dtype=torch.bool))
    modules, carry = dict(lm._modules), model.init_carry(1)
    carry = map_tree(lambda t: t.double() if t.is_floating_point() else t, carry)
    found = influence_BT(model, weights, chunk, carry)
    assert found.shape == (1, 6)
    assert lm._modules == modules
    assert all(p.grad is None for p in lm.parameters())
    loss, x = loss_from_embedding(model, weights, chunk, carry)
    (gradient,) = torch.autograd.grad(loss.sum(), [x])
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    eps = 1e-6
    up, down = (
        loss_from_embedding(model, weights, chunk, carry, lambda e, s=s: e + s * eps * direction)[0] for s in (1, -1)
    )
    torch.testing.assert_close((up - down) / (2 * eps), (gradient * direction).sum().reshape(1), rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found, gradient.norm(dim=-1))
