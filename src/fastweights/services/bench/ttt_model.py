"""``bench ttt --model``: a whole TTTLM (hidden 256, 4 layers, 4 heads): reading, training, decoding, and memory.

Training is forward and backward of the mean cross entropy. ``official_*`` is the official model of the same size,
plainly (:mod:`fastweights.models.ttt_lm_plain`; its training is quadratic in the length, as the official code's).
Memory is what a training pass holds above the model and its gradients, with checkpoints through time in segments that
grow with the root of the length, and without any. Torch loads when the bench runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from fastweights.errors import FastweightsError

if TYPE_CHECKING:
    import torch

    from fastweights.models.ttt_lm import TTTLM, Carry
    from fastweights.models.ttt_lm_decode import TTTDecoder

DIM, LAYERS, HEADS, HIDDEN, VOCAB = 256, 4, 4, 704, 1024
_DECODED = 64  # tokens a sample


def bench_ttt_model(
    *, device: str = "cpu", batch: int = 1, chunk: int = 16, seqs: tuple[int, ...] = (512, 2048, 8192), repeats: int = 3
) -> dict[str, Any]:
    """Tokens per second (one thread and CPU time on a CPU), peak bytes and their growth.

    ``to_official``: how many times as fast as the official model's plain twin. ``train_long_to_short``: training speed
    at the longest text over that at the shortest. ``memory_exponent``: p of peak ~ T^p between the two longest. Raises
    :class:`FastweightsError` if a length is no multiple of ``chunk``.
    """
    import torch

    from fastweights.core.memory import keep_freed_memory
    from fastweights.models.device import pick_device, set_threads
    from fastweights.models.ttt_lm_decode import TTTDecoder
    from fastweights.models.ttt_lm_plain import need_plain
    from fastweights.services.bench.ttt import measured_seconds, peak_bytes

    need_lengths(seqs, chunk)
    target = pick_device(device)
    set_threads()
    keep_freed_memory()
    torch.manual_seed(0)
    text_BT = torch.randint(VOCAB, (batch, seqs[-1] + 1), device=target)
    segments = {t: segment(t // chunk) for t in seqs}
    plain = new_model(chunk, 0).to(target)
    models = {t: new_model(chunk, s).to(target) for t, s in segments.items()}
    theirs = new_model(chunk, 0, variant="official").to(target)
    need_plain(theirs)
    train_pass(plain, text_BT[:, : chunk + 1])  # the gradients are there before any memory is measured
    memory = {}
    for t in seqs:
        train_pass(models[t], text_BT[:, : chunk + 1])
        runs = {"checkpoints": models[t], "off": plain}
        peaks = {
            name: peak_bytes(lambda m=m, t=t: train_pass(m, text_BT[:, : t + 1]), target) for name, m in runs.items()
        }
        memory[str(t)] = {"segment_chunks": segments[t], **peaks}
    short, last = seqs[0], seqs[-1]
    jobs: dict[str, tuple[Callable[[], None], int]] = {
        "prefill": (lambda: _prefill(plain, text_BT[:, :short]), short),
        "train": (lambda: train_pass(plain, text_BT[:, : short + 1]), short),
        "train_long": (lambda: train_pass(plain, text_BT), last),
        "train_long_checkpoints": (lambda: train_pass(models[last], text_BT), last),
        "decode": (lambda: _decode(plain, text_BT[:, :_DECODED]), _DECODED),
        "official_prefill": (lambda: _prefill_plain(theirs, text_BT[:, :short]), short),
        "official_train": (lambda: _train_plain(theirs, text_BT[:, : short + 1]), short),
        "official_train_long": (lambda: _train_plain(theirs, text_BT), last),
        "official_decode": (lambda: _decode_plain(theirs, text_BT[:, :_DECODED]), _DECODED),
    }
    if batch == 1 and target.type == "cpu":
        decoder, start = TTTDecoder(plain.eval()), plain.init_carry(1)
        jobs["decode_lean"] = (lambda: _decode_lean(decoder, start, text_BT[:, :_DECODED]), _DECODED)
    seconds = measured_seconds({name: run for name, (run, _) in jobs.items()}, target, repeats)
    rates = {name: batch * tokens / seconds[name] for name, (_, tokens) in jobs.items()}
    shape = {"dim": DIM, "layers": LAYERS, "heads": HEADS, "hidden": HIDDEN, "vocab": VOCAB, "batch": batch}
    return {
        "device": str(target),
        "shape": {**shape, "chunk": chunk, "seqs": list(seqs)},
        "threads": torch.get_num_threads(),
        "tokens_per_second": rates,
        "to_official": {
            name: rate / rates[f"official_{name.removesuffix('_lean').removesuffix('_checkpoints')}"]
            for name, rate in rates.items()
            if not name.startswith("official_")
        },
        "train_long_to_short": rates["train_long"] / rates["train"],
        "peak_bytes": memory,
        "memory_exponent": {way: _exponent(memory, seqs, way) for way in ("checkpoints", "off")},
    }


def need_lengths(seqs: tuple[int, ...], chunk: int) -> None:
    """Raises :class:`FastweightsError` unless these are two or more rising multiples of ``chunk``."""
    if len(seqs) < 2 or list(seqs) != sorted(set(seqs)) or any(t % chunk or t < chunk for t in seqs):
        raise FastweightsError(f"seqs={seqs} must be two or more rising multiples of chunk={chunk}")


def segment(chunks: int) -> int:
    """Chunks between two checkpoints: near where the carries that are kept weigh as much as one segment's inside."""
    return max(1, round(math.sqrt(chunks) / 3))


def _exponent(memory: dict[str, Any], seqs: tuple[int, ...], way: str) -> float | None:
    before, after = (memory[str(t)][way] for t in seqs[-2:])
    return math.log(after / before) / math.log(seqs[-1] / seqs[-2]) if before and after else None


def new_model(chunk: int, checkpoint_n_chunks: int, variant: Literal["lab", "official"] = "lab") -> TTTLM:
    """A model of the bench's size."""
    from fastweights.layers.ttt_config import TTTConfig, official
    from fastweights.models.ttt_lm import TTTLM
    from fastweights.models.ttt_lm_config import TTTLMConfig

    mixer = (TTTConfig if variant == "lab" else official)(dim=DIM, heads=HEADS, chunk=chunk)
    return TTTLM(
        TTTLMConfig(
            vocab_size=VOCAB, layers=LAYERS, mixer=mixer, mlp_hidden=HIDDEN, checkpoint_n_chunks=checkpoint_n_chunks
        )
    )


def _zero(model: TTTLM) -> None:
    model.train()
    for p in model.parameters():
        if p.grad is not None:
            p.grad.zero_()


def train_pass(model: TTTLM, text_BT: torch.Tensor) -> None:
    """Forward and backward of the mean cross entropy of ``[B, T + 1]`` ids."""
    _zero(model)
    nats_BT, _ = model.nats(text_BT[:, :-1], text_BT[:, 1:])
    nats_BT.mean().backward()


def _prefill(model: TTTLM, text_BT: torch.Tensor) -> None:
    import torch

    model.eval()
    with torch.inference_mode():
        model(text_BT)


def _decode(model: TTTLM, text_BT: torch.Tensor) -> None:
    import torch

    model.eval()
    with torch.inference_mode():
        carry = model.init_carry(len(text_BT))
        for token_B1 in text_BT.split(1, dim=1):
            _, carry = model.decode(token_B1, carry)


def _decode_lean(decoder: TTTDecoder, start: Carry, text_BT: torch.Tensor) -> None:
    decoder.load(start)
    for token in text_BT[0].tolist():
        decoder.logits(decoder.step(token))


def _prefill_plain(model: TTTLM, text_BT: torch.Tensor) -> None:
    import torch

    from fastweights.models.ttt_lm_plain import plain_logits

    with torch.inference_mode():
        plain_logits(model, text_BT)


def _train_plain(model: TTTLM, text_BT: torch.Tensor) -> None:
    from torch.nn import functional as F

    from fastweights.models.ttt_lm_plain import plain_logits

    _zero(model)
    F.cross_entropy(plain_logits(model, text_BT[:, :-1]).flatten(0, 1), text_BT[:, 1:].flatten()).backward()


def _decode_plain(model: TTTLM, text_BT: torch.Tensor) -> None:
    import torch

    from fastweights.models.ttt_lm_plain import plain_decode, plain_start

    with torch.inference_mode():
        states = plain_start(model, len(text_BT))
        for t, token_B1 in enumerate(text_BT.split(1, dim=1)):
            _, states = plain_decode(model, token_B1, states, t)
