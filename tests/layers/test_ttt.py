"""The TTT layer: its state, any length, pieces, ragged batches, decoding, precision. Inner loops: test_ttt_inner."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fastweights.layers import naive_ttt
from fastweights.layers.norm import normalize
from fastweights.layers.ttt import State, TTTLayer
from fastweights.layers.ttt_config import TTTConfig, official
from fastweights.layers.ttt_inner import Target

SIZES: dict[str, Any] = {"dim": 16, "heads": 2, "chunk": 4}
CONFIGS = {
    "lab": TTTConfig(**SIZES, eta_base=1.0),
    "lab_mlp": TTTConfig(**SIZES, eta_base=1.0, inner="mlp", decode="anchored"),
    "official": official(**SIZES),
    "official_mlp": official(**SIZES, inner="mlp", gate=True, share_qk_conv=True),
    "mixed": TTTConfig(**SIZES, row="learned", decode="anchored", bias=True, ln_affine=True, eta_per_head=False),
}
ANCHORED = [name for name, config in CONFIGS.items() if config.decode == "anchored"]


def make(config: TTTConfig, dtype: torch.dtype = torch.float64, **fields: object) -> TTTLayer:
    torch.manual_seed(0)
    layer = TTTLayer(config.model_copy(update=fields)).to(dtype)
    with torch.no_grad():
        for p in layer.parameters():
            p += torch.randn(p.shape) * 0.3
        if layer.row_offset is not None:
            layer.row_offset.mul_(0.1)  # a row below 0 counts as 0
    return layer


def text(T: int, B: int = 2, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    return torch.randn(B, T, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_same(a: State, b: State, limit: float = 1e-10) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].shape == b[name].shape, name
        assert float((a[name].double() - b[name].double()).detach().abs().max()) <= limit, name


def assert_near(a: Tensor, b: Tensor, limit: float = 1e-10) -> None:
    assert a.shape == b.shape
    assert float((a - b).detach().abs().max()) <= limit


# ---------------------------------------------------------------- state


@pytest.mark.parametrize("name", CONFIGS)
def test_w0_used_for_init_and_reset(name: str) -> None:
    layer = make(CONFIGS[name])
    state = layer.init_carry(3)
    for field in ("W1", "b1", "W2", "b2"):
        assert (field in state) == (getattr(layer, field, None) is not None)
        if field in state:
            assert torch.equal(state[field], layer.get_parameter(field).detach().expand(3, -1, -1, -1))
    x = text(9)
    first, after = layer(x)
    assert not torch.equal(after["W1"][0], layer.get_parameter("W1"))
    again, _ = layer(x, layer.init_carry(2))  # a reset is a fresh state: W0, whatever was read before
    assert torch.equal(first, again)
    (grad,) = torch.autograd.grad(first.sin().sum(), [layer.get_parameter("W1")])
    assert grad.abs().max() > 0  # W0 is learned


@pytest.mark.parametrize("name", CONFIGS)
def test_state_isolation(name: str) -> None:
    layer = make(CONFIGS[name]).requires_grad_(False)
    fresh, other = layer.init_carry(2), layer.init_carry(2)
    storages = {t.untyped_storage().data_ptr() for t in (*fresh.values(), *layer.parameters()) if t.numel()}
    assert not storages & {t.untyped_storage().data_ptr() for t in other.values() if t.numel()}
    kept = {field: value.clone() for field, value in fresh.items()}
    x = text(11)
    y, _ = layer(x, fresh)
    assert all(torch.equal(fresh[field], kept[field]) for field in kept)  # a value: reading does not change it
    x[1] = text(11, seed=7)[1]
    changed, _ = layer(x, other)
    assert torch.equal(changed[0], y[0])
    assert not torch.equal(changed[1], y[1])
    fresh["W1"].zero_()
    assert torch.equal(layer.init_carry(2)["W1"], kept["W1"])


@pytest.mark.parametrize("name", CONFIGS)
def test_fast_weights_fp32_state(name: str) -> None:
    layer, x = make(CONFIGS[name], torch.float32), text(10, dtype=torch.float32)
    want, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x)
        y.float().square().sum().backward()
        layer.eval()
        _, state = layer.decode(x[:, :1], state)
    assert all(value.dtype == torch.float32 for field, value in state.items() if field not in ("position", "phase"))
    assert float((y - want).detach().abs().max()) <= 0.1 * float(want.detach().abs().max())
    half = TTTLayer(CONFIGS[name]).to(torch.bfloat16)
    y, state = half(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert state["W1"].dtype == torch.float32


# ---------------------------------------------------------------- reading


def naive_layer(layer: TTTLayer, x: Tensor) -> Tensor:
    """The layer with its inner loop taken one token at a time."""
    config, B = layer.config, x.shape[0]
    state = layer.init_carry(B)
    read, state = layer._project(x, state, layer.span(x.shape[1], state))
    q, k, shift, c = (t.transpose(1, 2).flatten(0, 1) for t in (read.q, read.k, read.shift, read.c))
    fast, _ = layer._load(state)
    row_L = None if config.row == "one" else layer._rows()
    target = Target(shift, layer._target(shift, B).scale_1D, config.norm_eps)
    z, _ = naive_ttt.primal(layer.inner, fast, q, k, c, target, row_L, config.chunk, strict=config.strict)
    y = layer._affine(q, normalize(z, config.norm_eps)[0], B)
    return layer._out(x, y.unflatten(0, (B, -1)).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("T", [1, 3, 4, 5, 8, 14])
def test_any_length_equals_the_primal_with_gradients(name: str, T: int) -> None:
    layer, x = make(CONFIGS[name]), text(T).requires_grad_()
    got, want = layer(x)[0], naive_layer(layer, x)
    assert_near(got, want)
    inputs = [x, *layer.parameters()]
    a, b = (torch.autograd.grad(y.sin().sum(), inputs, allow_unused=True, materialize_grads=True) for y in (got, want))
    for g, h in zip(a, b, strict=True):
        assert_near(g, h, 1e-10 * max(1.0, float(h.abs().max())))


@pytest.mark.parametrize("name", ["lab", "official"])
def test_lengths_1_to_50(name: str) -> None:
    layer = make(CONFIGS[name]).requires_grad_(False)
    x = text(50)
    whole, _ = layer(x)
    for T in range(1, 51):
        assert_near(layer(x[:, :T])[0], whole[:, :T])


@pytest.mark.parametrize("name", CONFIGS)
def test_causality_is_exact(name: str) -> None:
    layer = make(CONFIGS[name], torch.float32).requires_grad_(False)
    x = text(16, dtype=torch.float32)
    y, _ = layer(x)
    for t in range(16):
        other = x.clone()
        other[:, t:] = torch.randn_like(other[:, t:])
        assert torch.equal(layer(other)[0][:, :t], y[:, :t])


def test_strict_tokens_do_not_see_their_own_target() -> None:
    """Token i's value enters the steps of i, which only later tokens read."""
    layer = make(CONFIGS["lab"])
    x = text(8)
    before, _ = layer(x)
    with torch.no_grad():
        layer.v.weight += torch.randn(16, 16)
    after, _ = layer(x)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1:], after[:, 1:])


@pytest.mark.parametrize("name", CONFIGS)
def test_pieces_cut_anywhere_equal_the_whole(name: str) -> None:
    layer = make(CONFIGS[name]).requires_grad_(False)
    x = text(15)
    whole, end = layer(x)
    for cut in range(1, 15):
        first, state = layer(x[:, :cut])
        second, state = layer(x[:, cut:], state)
        assert_near(torch.cat([first, second], dim=1), whole)
        assert_same(state, end)


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_nothing(name: str) -> None:
    """Ragged rows, twice, the second time from different places in the chunk; a row may be empty."""
    layer = make(CONFIGS[name]).requires_grad_(False)
    x, more = text(11, B=3), text(9, B=3, seed=5)
    y, state = layer(x, lengths=[5, 11, 8])
    z, state = layer(more, state, lengths=[9, 0, 6])
    layer.eval()
    w, state = layer.decode(more[:, :1], state)
    for i, (first, second) in enumerate([(5, 9), (11, 0), (8, 6)]):
        row = slice(i, i + 1)
        want, own = layer(x[row, :first])
        assert_near(y[row, :first], want)
        if second:
            want, own = layer(more[row, :second], own)
            assert_near(z[row, :second], want)
        want, own = layer.decode(more[row, :1], own)
        assert_near(w[row], want)
        assert_same({field: value[row] for field, value in state.items()}, own)
    with pytest.raises(ValueError, match=r"lengths \[12, 1, 1\]"):
        layer(x, lengths=[12, 1, 1])


@pytest.mark.parametrize("name", CONFIGS)
def test_reading_without_learning_keeps_the_weights(name: str) -> None:
    layer = make(CONFIGS[name]).requires_grad_(False)
    _, state = layer(text(6))
    y, after = layer(text(7, seed=3), state, learn=False)
    fast = [field for field in state if field[0] in "Wbau"]
    assert all(after[field] is state[field] for field in fast)
    assert after["position"].tolist() == [13, 13]
    assert torch.equal(after["phase"], state["phase"])
    pieces = []
    for part in text(7, seed=3).split(3, dim=1):
        piece, state = layer(part, state, learn=False)
        pieces.append(piece)
    assert_near(torch.cat(pieces, dim=1), y)
    assert_same(state, after)


# ---------------------------------------------------------------- decoding


@pytest.mark.parametrize("name", ANCHORED)
@pytest.mark.parametrize("prefill", [0, 3, 4])
def test_anchored_decode_equals_prefill(name: str, prefill: int) -> None:
    layer = make(CONFIGS[name]).requires_grad_(False).eval()
    x = text(14)
    whole, end = layer(x)
    state, outs = layer.init_carry(2), []
    if prefill:
        y, state = layer(x[:, :prefill], state)
        outs.append(y)
    for t in range(prefill, 14):
        y, state = layer.decode(x[:, t : t + 1], state)
        outs.append(y)
    assert_near(torch.cat(outs, dim=1), whole)
    assert_same(state, end)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("inner", ["linear", "mlp"])
def test_online_decode_steps_by_the_configured_chunk(inner: str, strict: bool) -> None:
    """2 / chunk a token, never 2 / 1: equal to the online twin, and its gap to the prefill is finite but not 0."""
    config = TTTConfig(**SIZES, eta_base=1.0, inner=inner, strict=strict)  # type: ignore[arg-type]
    layer = make(config).requires_grad_(False).eval()
    x = text(9)
    state = layer.init_carry(2)
    read, _ = layer._project(x, state, layer.span(9, state))
    q, k, shift, c = (t.transpose(1, 2).flatten(0, 1) for t in (read.q, read.k, read.shift, read.c))
    assert float(c.max()) <= 2 / config.chunk
    fast, _ = layer._load(state)
    z, _ = naive_ttt.online(layer.inner, fast, q, k, c, Target(shift, None, config.norm_eps), strict=strict)
    y = (q + normalize(z, config.norm_eps)[0]).unflatten(0, (2, -1)).transpose(1, 2).flatten(2)
    outs = []
    for t in range(9):
        out, state = layer.decode(x[:, t : t + 1], state)
        outs.append(out)
    assert_near(torch.cat(outs, dim=1), layer._out(x, y))
    gap = float((torch.cat(outs, dim=1) - layer(x)[0]).abs().max())
    assert 1e-6 < gap < 10


def test_online_decode_folds_an_open_chunk() -> None:
    layer = make(CONFIGS["lab"]).requires_grad_(False).eval()
    x = text(7)
    _, state = layer(x[:, :6])
    fast, rows = layer._load(state)
    assert rows[0].u_LF.abs().max() > 0
    _, after = layer.decode(x[:, 6:], state)
    assert after["phase"].tolist() == [0, 0]
    assert after["u1"].abs().max() == 0
    folded = {**state, "W1": (fast[0].w_DF - rows[0].a_LD.mT @ rows[0].u_LF).unflatten(0, (2, 2))}
    folded |= {"a1": torch.zeros_like(state["a1"]), "u1": torch.zeros_like(state["u1"])}
    folded["phase"] = torch.zeros_like(state["phase"])
    assert_same(layer.decode(x[:, 6:], folded)[1], after)


def test_decode_in_training_mode_is_refused() -> None:
    layer = make(CONFIGS["lab"])
    with pytest.raises(RuntimeError, match=r"\.eval\(\)"):
        layer.decode(text(1), layer.init_carry(2))


# ---------------------------------------------------------------- configs and engines


def test_online_decode_with_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="decode=anchored"):
        TTTConfig(row="learned", decode="online")
    with pytest.raises(ValueError, match="even width"):
        TTTConfig(dim=12, heads=4)


@pytest.mark.parametrize("name", ["lab", "official"])
def test_engines_agree(name: str) -> None:
    hand, auto = make(CONFIGS[name]), make(CONFIGS[name], engine="autograd")
    x = text(13)
    for (a, s), (b, r) in [(hand(x), auto(x))]:
        assert_near(a, b)
        for g, h in zip(
            torch.autograd.grad(a.sin().sum() + s["W1"].sin().sum(), list(hand.parameters())),
            torch.autograd.grad(b.sin().sum() + r["W1"].sin().sum(), list(auto.parameters())),
            strict=True,
        ):
            assert_near(g, h, 1e-10 * max(1.0, float(h.abs().max())))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_engine_agrees() -> None:
    config = CONFIGS["lab"]
    hand, compiled = make(config), make(config, engine="compiled")
    x = text(70)
    a, b = hand(x)[0], compiled(x)[0]
    assert_near(a, b)
    for g, h in zip(
        torch.autograd.grad(a.sin().sum(), list(hand.parameters())),
        torch.autograd.grad(b.sin().sum(), list(compiled.parameters())),
        strict=True,
    ):
        assert_near(g, h, 1e-9 * max(1.0, float(h.abs().max())))
