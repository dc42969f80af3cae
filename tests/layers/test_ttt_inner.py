"""TTT's inner loops: the dual form against the token-by-token twin, and the backward by hand against autograd's."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastweights.layers import naive_ttt, naive_ttt_official, ttt_linear, ttt_linear_cpu, ttt_mlp
from fastweights.layers.norm import normalize
from fastweights.layers.ttt_inner import INNER, Fast, Target, apply, gelu_slope, seen, whole_chunks

EPS = 1e-6


def case(
    inner: str,
    *,
    N: int = 3,
    P: int = 2,
    L: int = 4,
    D: int = 6,
    bias: bool,
    affine: bool,
    row: bool,
    dtype,
    device="cpu",
):
    """Random inputs of N chunks, all requiring gradients."""
    gen = torch.Generator().manual_seed(N * L + D)

    def rand(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=gen, dtype=torch.float64) * scale).to(device, dtype).requires_grad_()

    fast = [
        Fast(rand(P, width, out, scale=0.5), rand(P, 1, out) if bias else None)
        for width, out in INNER[inner].widths(D, 4)
    ]
    q, k, shift = (rand(P, N * L, D) for _ in range(3))
    c = rand(P, N * L, 1, scale=0.1)
    scale = rand(P, 1, D) if affine else None
    row_L = rand(L) if row else None
    return fast, q, k, c, shift, scale, row_L


def chunks(x_PTD: Tensor, L: int) -> Tensor:
    return x_PTD.unflatten(1, (-1, L)).transpose(0, 1)


def tensors(*items) -> list[Tensor]:
    flat = []
    for item in items:
        flat += tensors(*item) if isinstance(item, (list, tuple)) else [] if item is None else [item]
    return flat


def dual(inner: str, given, L: int, *, strict: bool, hand: bool) -> list[Tensor]:
    """Of the hand-written loops, that for one CPU thread where it applies."""
    fast, q, k, c, shift, scale, row_L = given
    rows = torch.ones(L, dtype=q.dtype, device=q.device) if row_L is None else row_L
    target = Target(chunks(shift, L), scale, EPS)
    args = (chunks(q, L), chunks(k, L), chunks(c, L), target, seen(rows, strict=strict), rows[-1])
    if hand and inner == "mlp":
        xhat, after = ttt_mlp.dual(fast, *args)
    elif hand:
        xhat, layer = ttt_linear.dual(fast[0], *args)
        after = [layer]
    else:
        z, after = whole_chunks(INNER[inner], fast, *args)
        xhat = normalize(z, EPS)[0]
    return [xhat.transpose(0, 1).flatten(1, 2), *tensors(after)]


def primal(inner: str, given, L: int, *, strict: bool) -> list[Tensor]:
    fast, q, k, c, shift, scale, row_L = given
    z, after = naive_ttt.primal(INNER[inner], fast, q, k, c, Target(shift, scale, EPS), row_L, L, strict=strict)
    return [normalize(z, EPS)[0], *tensors(after)]


def gradients(outs: list[Tensor], given) -> tuple[Tensor, ...]:
    gen = torch.Generator().manual_seed(9)
    weights = [torch.randn(o.shape, generator=gen, dtype=torch.float64).to(o.device, o.dtype) for o in outs]
    total = torch.stack([(o * w).sum() for o, w in zip(outs, weights, strict=True)]).sum()
    return torch.autograd.grad(total, tensors(*given))


def assert_near(got, want, limit: float) -> None:
    for x, y in zip(got, want, strict=True):
        assert x.dtype == y.dtype
        assert float((x - y).detach().abs().max()) <= limit * max(1.0, float(y.detach().abs().max()))


SWITCHES = [
    pytest.param({"bias": False, "affine": False, "row": False}, True, id="lab"),
    pytest.param({"bias": True, "affine": True, "row": True}, False, id="official"),
    pytest.param({"bias": True, "affine": False, "row": True}, True, id="strict-rows"),
    pytest.param({"bias": False, "affine": True, "row": False}, False, id="inclusive"),
]


@pytest.mark.parametrize(("switches", "strict"), SWITCHES)
@pytest.mark.parametrize(("inner", "hand"), [("linear", True), ("linear", False), ("mlp", True), ("mlp", False)])
def test_dual_equals_primal_in_fp64(inner: str, hand: bool, switches: dict, strict: bool) -> None:
    given = case(inner, dtype=torch.float64, **switches)
    got, want = dual(inner, given, 4, strict=strict, hand=hand), primal(inner, given, 4, strict=strict)
    assert_near(got, want, 1e-10)
    assert_near(gradients(got, given), gradients(want, given), 1e-10)


@pytest.mark.parametrize("group", [None, 1, 2])
@pytest.mark.parametrize(("N", "strict"), [(1, True), (2, False), (5, True)])
def test_both_handwritten_loops_are_the_primal(
    N: int, strict: bool, group: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one for all devices (None), and the one for a CPU thread in groups of one and of two heads of three."""
    given = case("linear", N=N, P=3, bias=False, affine=False, row=False, dtype=torch.float64)
    monkeypatch.setattr(ttt_linear_cpu, "takes", lambda tokens: group is not None)
    monkeypatch.setattr(ttt_linear_cpu, "_GROUP_BYTES", (group or 1) * 6 * 6 * 8)
    want = primal("linear", given, 4, strict=strict)
    got = dual("linear", given, 4, strict=strict, hand=True)
    assert_near(got, want, 1e-10)
    assert_near(gradients(got, given), gradients(want, given), 1e-10)
    with torch.no_grad():
        again = dual("linear", given, 4, strict=strict, hand=True)
    assert all(torch.equal(x, y) for x, y in zip(again, got, strict=True))


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize(
    ("device", "bf16", "limit"),
    [
        ("cpu", False, 2e-5),
        ("cpu", True, 2e-5),
        pytest.param("cuda", False, 1e-4, marks=NEEDS_GPU),
        pytest.param("cuda", True, 0.05, marks=NEEDS_GPU),
    ],
)
@pytest.mark.parametrize("inner", ["linear", "mlp"])
def test_dual_matches_primal(inner: str, device: str, bf16: bool, limit: float) -> None:
    """At the size of use, in fp32; bf16: of inputs rounded to it, as autocast hands them over."""
    given = case(inner, N=3, P=4, L=16, D=64, bias=False, affine=False, row=False, dtype=torch.float32, device=device)
    if bf16:
        fast, q, k, c, shift, *rest = given
        given = (fast, *(x.detach().bfloat16().float().requires_grad_() for x in (q, k, c, shift)), *rest)
    got, want = dual(inner, given, 16, strict=True, hand=True), primal(inner, given, 16, strict=True)
    assert_near(got, want, limit)
    assert_near(gradients(got, given), gradients(want, given), 10 * limit)


@pytest.mark.parametrize("hand", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_a_chunk_of_one_is_the_online_step(strict: bool, hand: bool) -> None:
    given = case("linear", N=7, L=1, dtype=torch.float64, bias=True, affine=True, row=False)
    fast, q, k, c, shift, scale, _ = given
    z, after = naive_ttt.online(INNER["linear"], fast, q, k, c, Target(shift, scale, EPS), strict=strict)
    assert_near(dual("linear", given, 1, strict=strict, hand=hand), [normalize(z, EPS)[0], *tensors(after)], 1e-10)


@pytest.mark.parametrize("inner", ["linear", "mlp"])
def test_pulls_are_the_gradient_of_the_inner_loss(inner: str) -> None:
    fast, _, k, _, target, gain, _ = case(inner, N=1, bias=True, affine=True, row=False, dtype=torch.float64)
    assert gain is not None
    bias = torch.randn_like(gain)

    z = apply(k, fast[0])
    if inner == "mlp":
        z = apply(F.gelu(z, approximate="tanh"), fast[1])
    loss = 0.5 * (gain * F.layer_norm(z, (z.shape[-1],), eps=EPS) + bias - target).square().sum()
    want = torch.autograd.grad(loss, [layer.w_DF for layer in fast])
    rows = INNER[inner].pulls(fast, k, Target(gain * (bias - target), gain.square(), EPS))
    assert_near([r.a_LD.mT @ r.u_LF for r in rows], want, 1e-10)


def test_gelu_slope_is_differentiable_and_right() -> None:
    z = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(F.gelu(z, approximate="tanh").sum(), z)
    assert_near([gelu_slope(z)], [want], 1e-12)
    assert torch.autograd.gradcheck(gelu_slope, (z,))


def test_autograd_engine_is_twice_differentiable() -> None:
    given = case("linear", N=2, P=1, L=2, D=4, dtype=torch.float64, bias=True, affine=True, row=False)
    out = dual("linear", given, 2, strict=False, hand=False)[0]
    (first,) = torch.autograd.grad(out.square().sum(), given[0][0].w_DF, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), given[2])
    assert second.abs().max() > 0


def test_official_dual_is_the_primal() -> None:
    fast, q, k, c, _, _, _ = case("linear", bias=True, affine=False, row=False, dtype=torch.float64)
    gen = torch.Generator().manual_seed(3)
    gain, bias, v = (torch.randn(s, generator=gen, dtype=torch.float64) for s in ((2, 1, 6), (2, 1, 6), q.shape))
    row_L = torch.rand(4, generator=gen, dtype=torch.float64)
    target = Target(gain * (bias - (v - k)), gain.square(), EPS)
    z, (after,) = naive_ttt.primal(INNER["linear"], fast, q, k, c, target, row_L, 4, strict=False)
    q5, k5, v5, c5 = (chunks(x, 4).unsqueeze(1) for x in (q, k, v, c))
    norm, (w, b) = naive_ttt_official.Norm(gain, bias), fast[0]
    assert b is not None
    y, w, b = naive_ttt_official.dual(w[None], b[None], q5, k5, v5, row_L[:, None] * c5.mT, norm)
    torch.testing.assert_close(y.squeeze(1).transpose(0, 1).flatten(1, 2), q + gain * normalize(z, EPS)[0] + bias)
    torch.testing.assert_close((w[0], b[0]), tuple(after))
