"""``bench scan`` and ``bench decode``: a hot path and its naive twin in one process, on one thread, in CPU time.

Parity comes first; where it fails there is no speed to report. Torch loads when a bench runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.models.tiny_lm import TinyLM


def bench_scan(batch: int = 16, length: int = 256, dim: int = 128, repeats: int = 9) -> dict[str, Any]:
    """The recurrence, forward and backward, against autograd through a Python loop.

    CPU milliseconds (medians of ``repeats``) and ``ratio``, how many times the twin takes. Raises
    :class:`FastweightsError` if outputs or gradients differ by more than 1e-5 of the largest.
    """
    import torch

    from fastweights.layers import naive
    from fastweights.layers.scan import scan
    from fastweights.models.device import set_threads

    set_threads()
    gen = torch.Generator().manual_seed(0)
    a = torch.rand(batch, length, dim, generator=gen)
    u, weight = (torch.randn(batch, length, dim, generator=gen) for _ in range(2))
    inputs = [x.requires_grad_() for x in (a, u, torch.randn(batch, dim, generator=gen))]

    def both_ways(function: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
        s_BTD = function(*inputs)
        return [s_BTD.detach(), *torch.autograd.grad((s_BTD * weight).sum(), inputs)]

    worst = max(
        float((x - y).abs().max() / y.abs().max()) for x, y in zip(both_ways(scan), both_ways(naive.scan), strict=True)
    )
    _need_parity("scan", worst, 1e-5)
    fast, slow = _compare(lambda: both_ways(scan), lambda: both_ways(naive.scan), repeats)
    return {
        "shape": [batch, length, dim],
        "cpu_ms": statistics.median(fast),
        "naive_cpu_ms": statistics.median(slow),
        "ratio": _ratio(fast, slow),
        "tokens_per_s": batch * length / statistics.median(fast) * 1e3,
        "worst_difference": worst,
        "threads": 1,
    }


def bench_decode(
    store: Store, model_id: str | None = None, *, prefix: int = 256, tokens: int = 64, repeats: int = 5
) -> dict[str, Any]:
    """Greedy decoding with the state carried, against a forward pass over the whole text so far for each token.

    The text ends at ``prefix`` tokens, the last ``tokens`` of which are timed: the twin reads at most ``prefix``
    tokens for each. ``model_id`` None: random weights, about 1M parameters. Raises :class:`FastweightsError` if the
    logits of any token differ by more than 1e-4 of the largest.
    """
    import numpy as np
    import torch

    from fastweights.models.device import set_threads
    from fastweights.models.tiny_lm_decode import Decoder

    if not 1 <= tokens < prefix:
        raise FastweightsError(f"tokens={tokens} must be from 1 to below prefix={prefix}")
    set_threads()
    model = _random_model() if model_id is None else _stored_model(store, model_id)
    decoder = Decoder(model)
    gen = torch.Generator().manual_seed(0)
    start = torch.randint(0, min(model.config.vocab_size, 256), (1, prefix - tokens), generator=gen)
    with torch.inference_mode():
        _, carry = model.hidden(start[:, :-1])

    def carried() -> list[np.ndarray]:
        decoder.load(carry)
        token, out = int(start[0, -1]), []
        for _ in range(tokens):
            out.append(decoder.logits(decoder.step(token)))
            token = int(out[-1].argmax())
        return out

    def anew() -> list[np.ndarray]:
        text, out = start, []
        with torch.inference_mode():
            for _ in range(tokens):
                h_BTD, _ = model.hidden(text)
                out.append(model.logits(h_BTD[0, -1]).numpy())
                text = torch.cat([text, torch.from_numpy(out[-1]).argmax().view(1, 1)], dim=1)
        return out

    want, got = np.stack(anew()), np.stack(carried())
    worst = float(np.abs(got - want).max() / np.abs(want).max())
    _need_parity("decode", worst, 1e-4)
    fast, slow = _compare(carried, anew, repeats)
    return {
        "model": model_id,
        "params": sum(p.numel() for p in model.parameters()),
        "prefix_tokens": prefix,
        "tokens": tokens,
        "cpu_ms": statistics.median(fast),
        "cpu_ms_per_token": statistics.median(fast) / tokens,
        "naive_cpu_ms": statistics.median(slow),
        "ratio": _ratio(fast, slow),
        "worst_difference": worst,
        "threads": 1,
    }


def _compare(fast: Callable[[], Any], slow: Callable[[], Any], repeats: int) -> tuple[list[float], list[float]]:
    """CPU milliseconds of both, taken in turn so that a busy machine slows both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, into in zip((fast, slow), times, strict=True):
            start = time.process_time()
            function()
            into.append((time.process_time() - start) * 1e3)
    return times


def _ratio(fast: list[float], slow: list[float]) -> float:
    return statistics.median(s / f for f, s in zip(fast, slow, strict=True))


def _need_parity(what: str, worst: float, limit: float) -> None:
    if not worst <= limit:
        raise FastweightsError(f"bench {what}: differs from its naive twin by {worst:.2e}; no speed to report")


def _random_model() -> TinyLM:
    import torch

    from fastweights.models.tiny_lm import TinyLM
    from fastweights.models.tiny_lm_config import TinyLMConfig

    torch.manual_seed(0)
    model = TinyLM(TinyLMConfig(vocab_size=258, dim=256, layers=2)).eval().requires_grad_(False)
    for name, p in model.named_parameters():
        if p.ndim == 2 and ".conv." not in name:
            torch.nn.init.normal_(p, std=p.shape[1] ** -0.5)
    return model


def _stored_model(store: Store, model_id: str) -> TinyLM:
    from fastweights.models.registry import load_model
    from fastweights.models.tiny_lm import TinyLM
    from fastweights.store.models import Models

    models = Models(store)
    lm = load_model(models.path(models.resolve(model_id))).lm
    if not isinstance(lm, TinyLM):
        raise FastweightsError(f"model {model_id!r} is a {lm.config.kind}: bench decode measures tiny_lm only")
    return lm
