"""The monitor's reference model: seeded, alive, streamed = whole, causal; its recurrence is the one of record."""

import pytest
import torch

from fastweights.data.hashed_words import VOCAB
from fastweights.models.toy import DIM, ToyLM, ToySSM

BACKBONES = pytest.mark.parametrize("backbone", ["ssm", "gru"])


def _tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


@BACKBONES
def test_same_seed_same_weights_and_the_global_seed_is_left_alone(backbone: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = ToyLM(backbone, 1), ToyLM(backbone, 1), ToyLM(backbone, 2)  # type: ignore[arg-type]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)
    assert tuple(one.embedding.weight.shape) == (8192, 64)
    assert not any(p.requires_grad for p in one.parameters())


@BACKBONES
def test_streamed_equals_whole_and_sequences_are_apart(backbone: str) -> None:
    lm = ToyLM(backbone)  # type: ignore[arg-type]
    tokens = _tokens(2, 128)
    whole, _ = lm.hidden(tokens)
    carry, parts = None, []
    for part in tokens.split([1, 40, 0 + 7, 80], dim=1):
        h_BTD, carry = lm.hidden(part, carry)
        parts.append(h_BTD)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-6)
    alone, _ = lm.hidden(tokens[1:])
    torch.testing.assert_close(alone, whole[1:], rtol=1e-5, atol=1e-6)


@BACKBONES
def test_it_is_alive_at_every_position_and_causal(backbone: str) -> None:
    """Each state depends on what was read long ago (a scan that underflows would be 0 from some token on)."""
    lm = ToyLM(backbone)  # type: ignore[arg-type]
    tokens = _tokens(1, 128)
    changed = tokens.clone()
    changed[0, 100] = (changed[0, 100] + 1) % VOCAB
    a, b = lm.hidden(tokens)[0], lm.hidden(changed)[0]
    assert torch.equal(a[:, :100], b[:, :100])
    assert bool((a[:, 100:] != b[:, 100:]).any(-1).all())
    assert a.std(dim=-1).min() > 0.1


def test_the_recurrence_is_the_one_of_record() -> None:
    ssm = ToySSM(DIM).requires_grad_(False)
    x = torch.randn(1, 50, DIM, generator=torch.Generator().manual_seed(0))
    h, carry = ssm(x, ssm.init_carry(1))
    a, s = torch.tanh(ssm.a_logit), torch.zeros(DIM)
    assert bool(((a > 0) & (a < 1)).all())
    for t in range(50):
        s = a * s + ssm.b * (torch.sigmoid(ssm.gate.weight @ x[0, t] + ssm.gate.bias) * x[0, t])
        torch.testing.assert_close(h[0, t], ssm.c * s + ssm.d * x[0, t], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(carry["state"][0], s, rtol=1e-4, atol=1e-4)
