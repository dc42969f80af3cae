"""The numpy decoder against torch: hidden states, logits and carry, hand-over in both directions."""

import pytest
import torch

from fastweights.models.tiny_lm_decode import Decoder
from tests.models.tiny_models import CONFIGS, build, tokens


@pytest.mark.parametrize("name", CONFIGS)
def test_equals_torch(name: str) -> None:
    model, x = build(name, torch.float32), tokens(1, 200)
    h, end = model.hidden(x)
    decoder = Decoder(model)
    near = 1e-5 * float(h.detach().abs().max())  # of the largest value, over 200 recurrent steps
    for t, token in enumerate(x[0].tolist()):
        h_D = decoder.step(token)
        torch.testing.assert_close(torch.from_numpy(h_D), h[0, t], rtol=1e-5, atol=near)
        torch.testing.assert_close(torch.from_numpy(decoder.logits(h_D)), model.logits(h[0, t]), rtol=1e-5, atol=near)
    torch.testing.assert_close(decoder.carry(), end, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_hand_over_both_ways(name: str) -> None:
    model, x = build(name, torch.float32), tokens(1, 60)
    whole, _ = model.hidden(x)
    _, carry = model.hidden(x[:, :20])
    kept = {k: v.clone() for k, v in carry.items()}
    decoder = Decoder(model)
    decoder.load(carry)
    for token in x[0, 20:40].tolist():
        decoder.step(token)
    rest, _ = model.hidden(x[:, 40:], decoder.carry())
    torch.testing.assert_close(rest, whole[:, 40:], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(carry[k], kept[k]) for k in carry)


def test_extreme_weights_do_not_warn() -> None:
    model = build("ssm", torch.float32)
    with torch.no_grad():
        for p in model.parameters():
            p *= 100
    decoder = Decoder(model)
    assert all(torch.from_numpy(decoder.step(t)).isfinite().all() for t in range(20))


def test_more_than_one_sequence_is_refused() -> None:
    model = build("ssm", torch.float32)
    with pytest.raises(ValueError, match="2 sequences"):
        Decoder(model).load(model.init_carry(2))
