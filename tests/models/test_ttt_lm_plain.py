"""The plain twin of the official model computes what the model does."""

import pytest
import torch
from torch.nn import functional as F

from fastweights.errors import Unsupported
from fastweights.models.ttt_lm_plain import need_plain, plain_decode, plain_logits, plain_start
from tests.small_ttt import random_ttt


def test_logits_gradients_and_decoding_are_the_models() -> None:
    model = random_ttt("official", vocab=32).double().requires_grad_()
    need_plain(model)
    ids_BT = torch.randint(32, (2, 12), generator=torch.Generator().manual_seed(1))
    want, _ = model(ids_BT)
    got = plain_logits(model, ids_BT)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    parameters = list(model.parameters())
    pairs = zip(
        *(torch.autograd.grad(F.log_softmax(y, -1)[..., 3].sum(), parameters) for y in (got, want)), strict=True
    )
    for twin, own in pairs:
        torch.testing.assert_close(twin, own, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        states = plain_start(model, 2)
        for t in range(12):
            logits_B1V, states = plain_decode(model, ids_BT[:, t : t + 1], states, t)
            torch.testing.assert_close(logits_B1V[:, 0], want[:, t], rtol=1e-6, atol=1e-6)


def test_other_variants_are_refused() -> None:
    for variant in ("lab", "mamba", "mlp"):
        with pytest.raises(Unsupported, match="plain twin"):
            need_plain(random_ttt(variant))
    with pytest.raises(ValueError, match="multiple of chunk"):
        plain_logits(random_ttt("official"), torch.zeros(1, 5, dtype=torch.int64))
