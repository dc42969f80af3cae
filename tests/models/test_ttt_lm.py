"""TTTLM: pieces, checkpoints through time, decoding in torch and numpy, what a preset costs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.errors import Unsupported
from fastweights.layers.ttt_config import TTTConfig, official
from fastweights.models.registry import build
from fastweights.models.ttt_lm import TTTLM
from fastweights.models.ttt_lm_config import PLAN_ONLY, PRESETS, AttentionConfig, TTTLMConfig, parameters, plan
from fastweights.models.ttt_lm_decode import TTTDecoder

SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "chunk": 4}
MIXERS = {
    "lab": TTTConfig(**SIZES),
    "official": official(**SIZES),
    "mamba": official(**SIZES, inner="mlp", gate=True, share_qk_conv=True, pre_conv=True),
    "lab_mlp": TTTConfig(**SIZES, inner="mlp", bias=True, ln_affine=True, strict=False),
}


ATTENTION = {"attention": AttentionConfig(window=5), "attention_qk": AttentionConfig(window=30, qk_norm=True)}


def make(name: str, dtype: torch.dtype = torch.float64, **fields: Any) -> TTTLM:
    torch.manual_seed(0)
    mixer, attention = MIXERS.get(name, MIXERS["lab"]), ATTENTION.get(name)
    model = TTTLM(TTTLMConfig(vocab_size=32, layers=2, mixer=mixer, attention=attention, **fields)).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape) * 0.1
    return model


def ids(T: int, B: int = 2) -> Tensor:
    return torch.randint(0, 32, (B, T), generator=torch.Generator().manual_seed(T))


@pytest.mark.parametrize("name", [*MIXERS, *ATTENTION])
def test_pieces_and_padding_equal_the_whole(name: str) -> None:
    model, x = make(name).eval().requires_grad_(False), ids(13)
    whole, end = model(x)
    assert {v.shape[0] for v in end.values()} == {2}
    first, carry = model(x[:, :6])
    second, carry = model(x[:, 6:], carry)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(carry, end)
    ragged, _ = model(x, lengths=[13, 7])
    torch.testing.assert_close(ragged[0], whole[0])
    torch.testing.assert_close(ragged[1, :7], whole[1, :7])


@pytest.mark.parametrize("name", ["lab", "mamba", "attention"])
@pytest.mark.parametrize("start", [0, 3])
def test_checkpoints_through_time_give_equal_gradients(name: str, start: int) -> None:
    results = []
    for chunks in (0, 1, 2):
        model = make(name, checkpoint_n_chunks=chunks)
        carry = None
        if start:
            _, carry = model(ids(start))
        x, y = ids(21)[:, :-1], ids(21)[:, 1:]
        logits, after = model(x, carry)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
        nats, _ = model.nats(x, y, carry)
        torch.testing.assert_close(nats.mean(), loss)
        (loss + nats.mean()).backward()
        results.append((logits, after, {n: p.grad for n, p in model.named_parameters()}))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_checkpoints_keep_boundaries_only() -> None:
    """What the graph holds between forward and backward, whatever the length, is a state a segment."""
    held = {}
    for chunks in (0, 2):
        model, sizes = make("lab", checkpoint_n_chunks=chunks), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            model.nats(ids(64), ids(64))
        held[chunks] = sum(sizes)
    assert held[2] < held[0] / 3


@pytest.mark.parametrize("name", [*MIXERS, *ATTENTION])
def test_numpy_decoder_equals_decode(name: str) -> None:
    model, x = make(name, torch.float32).eval().requires_grad_(False), ids(30, B=1)
    _, carry = model(x[:, :6])
    kept = {k: v.clone() for k, v in carry.items()}
    decoder = TTTDecoder(model)
    decoder.load(carry)
    for t in range(6, 30):
        want, carry = model.decode(x[:, t : t + 1], carry)
        got = torch.from_numpy(decoder.logits(decoder.step(int(x[0, t]))))
        torch.testing.assert_close(got, want[0, 0], rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    torch.testing.assert_close(decoder.carry(), carry, rtol=1e-5, atol=1e-5)
    assert decoder.carry().keys() == kept.keys() == model.init_carry(1).keys()
    with pytest.raises(ValueError, match="2 sequences"):
        decoder.load(model.init_carry(2))


def test_anchored_decode_equals_prefill_and_training_mode_is_refused() -> None:
    model, x = make("mamba").requires_grad_(False), ids(10)
    with pytest.raises(RuntimeError, match=r"\.eval\(\)"):
        model.decode(x[:, :1], model.init_carry(2))
    model.eval()
    whole, _ = model(x)
    carry, outs = model.init_carry(2), []
    for t in range(10):
        logits, carry = model.decode(x[:, t : t + 1], carry)
        outs.append(logits)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole)


class Wrapped(nn.Module):
    """As FSDP does it: another module in a block's place, whose parameters are whole only inside ``forward``."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.block(*args, **kwargs)


def test_blocks_may_be_wrapped() -> None:
    model, x = make("mamba"), ids(9)
    want, end = model(x, model.init_carry(2))
    for i, block in enumerate(model.layers):
        model.layers[i] = Wrapped(block)
    got, carry = model(x)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(carry, end)


def test_head_tied_or_not() -> None:
    model = make("lab")
    assert model.head.weight is model.embedding.weight
    other = TTTLM(model.config)
    other.load_state_dict(model.state_dict(), assign=True)
    assert other.head.weight is other.embedding.weight
    free = make("lab", tie_head=False)
    assert free.head.weight is not free.embedding.weight


def test_presets_and_what_they_cost() -> None:
    assert {"debug_tiny", "ttt_125m", "bringup_1p3b", "ttt_47b"} <= PRESETS.keys()
    for name, config in PRESETS.items():
        cost = plan(config, ranks=8)
        assert cost["parameters"] == parameters(config)
        assert cost["bytes_per_rank"] > cost["bytes_weights_and_optimizer_per_rank"] == 2 * parameters(config)
        if name not in PLAN_ONLY and name in ("debug_tiny", "ttt_125m", "ttt_mlp_official_125m"):
            with torch.device("meta"):
                model = build(config)
            assert sum(p.numel() for p in model.parameters()) == parameters(config)
    assert 45e9 < parameters(PRESETS["ttt_47b"]) < 50e9


@pytest.mark.parametrize("name", MIXERS)
def test_parameters_are_counted_right(name: str) -> None:
    for tie in (True, False):
        model = make(name, tie_head=tie)
        assert sum(p.numel() for p in model.parameters()) == parameters(model.config)


@pytest.mark.parametrize("name", ATTENTION)
def test_window_attention_in_place_of_ttt(name: str) -> None:
    model, x = make(name).eval(), ids(10)
    assert parameters(model.config) == sum(p.numel() for p in model.parameters())
    assert plan(model.config)["flops_per_token"] > 0
    whole, _ = model(x)
    carry, outs = model.init_carry(2), []
    for t in range(10):
        logits, carry = model.decode(x[:, t : t + 1], carry)
        outs.append(logits)
    torch.testing.assert_close(torch.cat(outs, dim=1), whole)
    with pytest.raises(Unsupported, match="no fast weights"):
        _ = model.blocks
    with pytest.raises(ValueError, match="leave them out"):
        TTTLMConfig(vocab_size=32, mixer=MIXERS["mamba"], attention=ATTENTION[name])
