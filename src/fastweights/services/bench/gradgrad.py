"""``bench gradgrad``: is the meta-gradient exact? A small stack that learns as it reads, against finite differences.

Each block: window attention, a fast SwiGLU, a SwiGLU, each after an RMSNorm and with a residual. The fast SwiGLUs step
down the next-token loss after every chunk; the outer loss is the mean over the chunks. With two or more blocks the
inner gradient goes through attention, so the outer one needs attention's second derivative. All in fp64. Torch loads
late.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    import torch

    from fastweights.core.learner import InnerOutput
    from fastweights.core.state import Chunk, Weights

LIMIT = 1e-6  # of the derivative along a direction
_STEP = 5e-4  # of the finite differences, whose error is of its fourth power
DIM, HEADS, VOCAB, BATCH = 8, 2, 11, 2


def bench_gradgrad(
    *, blocks: int = 2, chunks: int = 3, chunk: int = 5, window: int = 6, directions: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Derivatives of the outer loss along random directions in each group of parameters, and with checkpoints.

    ``finite_differences``: the worst relative difference of each group. ``checkpointed``: the largest difference that
    recomputing the inner steps makes, of the largest gradient. ``first_order``: the part of the gradient that is lost
    when the inner gradient is held constant. Raises :class:`FastweightsError` where the first two exceed 1e-6.
    """
    if blocks < 2:
        raise FastweightsError(f"blocks={blocks}: with one, no inner gradient goes through attention; give 2 or more")
    if min(chunks, chunk, window, directions) < 1:
        raise FastweightsError(f"chunks={chunks}, chunk={chunk}, window={window}, directions={directions}: from 1 up")
    if not 0 <= seed < 2**62:
        raise FastweightsError(f"seed={seed}: give a whole number from 0 to 2^62 - 1")
    import torch

    from fastweights.models.device import set_threads

    set_threads()
    start = time.process_time()
    stack = _Stack(blocks, window, seed)
    texts = _texts(chunks, chunk, seed)
    theta = stack.theta()
    names, values = list(theta), list(theta.values())
    loss = stack.outer(theta, texts)
    exact = dict(zip(names, torch.autograd.grad(loss, values), strict=True))
    checked = torch.autograd.grad(stack.outer(theta, texts, checkpoint=True), values)
    largest = max(float(g.abs().max()) for g in exact.values())
    same = max(float((a - b).abs().max()) for a, b in zip(exact.values(), checked, strict=True)) / largest
    first = torch.autograd.grad(stack.outer(theta, texts, first_order=True), values, materialize_grads=True)
    lost = max(float((a - b).abs().max()) for a, b in zip(exact.values(), first, strict=True)) / largest
    gen = torch.Generator().manual_seed(seed + 1)
    worst = {
        group: max(_difference(stack, theta, texts, exact, members, gen) for _ in range(directions))
        for group, members in _groups(names).items()
    }
    result = {
        "blocks": blocks,
        "chunks": chunks,
        "chunk": chunk,
        "window": window,
        "outer_loss": float(loss.detach()),
        "finite_differences": worst,
        "worst_difference": max(worst.values()),
        "checkpointed": same,
        "first_order": lost,
        "limit": LIMIT,
        "cpu_seconds": time.process_time() - start,
    }
    if not (result["worst_difference"] <= LIMIT and same <= LIMIT):
        raise FastweightsError(
            f"bench gradgrad: the meta-gradient is off by {result['worst_difference']:.1e} of finite differences, "
            f"with checkpoints by {same:.1e}; at most {LIMIT:g} is rounding"
        )
    return result


def _groups(names: list[str]) -> dict[str, list[str]]:
    kinds = {"attention": "attention.", "norms": "norm", "static": "static", "fast": "fast.", "rate": "rate"}
    groups = {group: [name for name in names if part in name] for group, part in kinds.items()}
    groups["embedding and head"] = [name for name in names if not any(name in own for own in groups.values())]
    return groups | {"all": names}


def _difference(
    stack: _Stack,
    theta: dict[str, torch.Tensor],
    texts: list[Chunk],
    exact: dict[str, torch.Tensor],
    members: list[str],
    gen: torch.Generator,
) -> float:
    import torch

    from fastweights.core.state import norm_B

    direction = {n: torch.randn(theta[n].shape, dtype=torch.float64, generator=gen) for n in members}
    length = norm_B({n: d.reshape(1, -1) for n, d in direction.items()})[0]
    direction = {n: d / length for n, d in direction.items()}

    def slope(step: float) -> float:
        ahead, behind = (
            {n: t.detach() + side * step * direction[n] if n in direction else t.detach() for n, t in theta.items()}
            for side in (1, -1)
        )
        return float((stack.outer(ahead, texts) - stack.outer(behind, texts)).detach()) / (2 * step)

    measured = (4 * slope(_STEP / 2) - slope(_STEP)) / 3
    computed = sum(float((exact[n] * d).sum()) for n, d in direction.items())
    size = sum(d.numel() for d in direction.values())
    usual = float(norm_B({n: exact[n].reshape(1, -1) for n in members})) / size**0.5  # one slope may be 0 by chance
    return abs(measured - computed) / max(abs(computed), usual)


def _texts(chunks: int, length: int, seed: int) -> list[Chunk]:
    import torch

    from fastweights.core.state import Chunk

    gen = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB, (BATCH, chunks * length + 1), generator=gen)
    mask = torch.ones(BATCH, length, dtype=torch.bool)
    pairs = zip(ids[:, :-1].split(length, dim=1), ids[:, 1:].split(length, dim=1), strict=True)
    return [Chunk(x, y, mask) for x, y in pairs]


class _Stack:
    """The network as a function of ``theta``: the slow weights, the fast ones' start ``fast.*``, and the inner rate."""

    def __init__(self, blocks: int, window: int, seed: int) -> None:
        import torch

        from fastweights.layers.attention import WindowAttention

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = [WindowAttention(DIM, HEADS, window, qk_norm=True, init_std=0.4) for _ in range(blocks)]
            self.attention = [one.double() for one in made]
            std = DIM**-0.5
            self._theta = {"rate": torch.tensor(0.5), "embedding": torch.randn(VOCAB, DIM), "norm": torch.ones(DIM)}
            for i, layer in enumerate(self.attention):
                self._theta |= {f"{i}.attention.{name}": p.detach() for name, p in layer.named_parameters()}
                self._theta |= {f"{i}.{kind}_norm": 1 + 0.1 * torch.randn(DIM) for kind in ("mix", "fast", "static")}
                for kind in ("fast", "static"):
                    for name, shape in {"gate": (12, DIM), "up": (12, DIM), "down": (DIM, 12)}.items():
                        self._theta[f"{i}.{kind}.{name}"] = torch.randn(shape) * std

    def theta(self) -> dict[str, torch.Tensor]:
        return {name: t.double().requires_grad_() for name, t in self._theta.items()}

    def outer(
        self,
        theta: dict[str, torch.Tensor],
        texts: list[Chunk],
        *,
        checkpoint: bool = False,
        first_order: bool = False,
    ) -> torch.Tensor:
        """Mean loss over the chunks, each read before it is learned."""
        from fastweights.core.learner import GradientLearner
        from fastweights.core.rules import SGD
        from fastweights.core.unroll import unroll

        learner = GradientLearner(_Reader(self, theta), SGD(lr=theta["rate"], clip=1.0), first_order=first_order)
        return unroll(learner, learner.init(BATCH), texts, create_graph=True, checkpoint=checkpoint)[1].mean()


class _Reader:
    """A :class:`fastweights.core.learner.FastModel` whose fast weights are the SwiGLUs ``<block>.fast.*``."""

    def __init__(self, stack: _Stack, theta: dict[str, torch.Tensor]) -> None:
        self.stack, self.theta = stack, theta

    def init_weights(self, batch: int) -> Weights:
        fast = {name: t for name, t in self.theta.items() if ".fast." in name}
        return {name: t.expand(batch, *t.shape) for name, t in fast.items()}

    def init_carry(self, batch: int) -> Any:
        return [layer.init_carry(batch) for layer in self.stack.attention]

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        return None

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        import torch
        from torch.nn import functional as F

        from fastweights.core.learner import InnerOutput
        from fastweights.core.losses import cross_entropy_B

        theta, after = self.theta, []
        x_BTD = theta["embedding"][chunk.tokens_BT]
        for i, (layer, own) in enumerate(zip(self.stack.attention, carry, strict=True)):
            prefix = f"{i}.attention."
            slow = {name[len(prefix) :]: t for name, t in theta.items() if name.startswith(prefix)}
            n_BTD = F.rms_norm(x_BTD, (DIM,), theta[f"{i}.mix_norm"])
            y_BTD, own = torch.func.functional_call(layer, slow, (n_BTD, own))
            x_BTD, after = x_BTD + y_BTD, [*after, own]
            for kind, held in (("fast", weights), ("static", theta)):
                n_BTD = F.rms_norm(x_BTD, (DIM,), theta[f"{i}.{kind}_norm"])
                gate, up, down = (held[f"{i}.{kind}.{name}"].mT for name in ("gate", "up", "down"))
                x_BTD = x_BTD + (F.silu(n_BTD @ gate) * (n_BTD @ up)) @ down
        logits_BTV = F.rms_norm(x_BTD, (DIM,), theta["norm"]) @ theta["embedding"].T
        return InnerOutput(cross_entropy_B(logits_BTV, chunk.targets_BT, chunk.mask_BT), after)
