"""Several sequences side by side, and models that were never trained: what ``fastweights generate`` adds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastweights.data.ids_tokenizer import IdsTokenizer
from fastweights.data.tokenizer import ByteTokenizer
from fastweights.errors import FastweightsError, Unsupported
from fastweights.services.drawing import Drawing
from fastweights.services.generate import PREFILL_TOKENS, OpenModel, draw, prompt_ids
from fastweights.services.records import GenerateRequest, Generation
from fastweights.services.training import SMALL_PRESET

if TYPE_CHECKING:
    from fastweights.models.registry import LoadedModel


def draw_batch(model: OpenModel, requests: Sequence[GenerateRequest]) -> list[Generation]:
    """Each as it would be drawn alone, up to rounding. A TTT model reads them as one batch of ragged rows."""
    from fastweights.models.ttt_lm import TTTLM

    if not isinstance(model.loaded.lm, TTTLM):
        return [draw(model, request) for request in requests]
    started = time.monotonic()
    drawn = _draw_rows(model.loaded, [prompt_ids(model.loaded, request) for request in requests], requests)
    return [
        Generation(
            model_id=model.loaded.model_id,
            prompt=request.prompt,
            completion=one.finish(),
            tokens=len(one.ids),
            token_ids=one.ids,
            stopped=one.stopped or "length",
            seconds=time.monotonic() - started,
        )
        for request, one in zip(requests, drawn, strict=True)
    ]


def _draw_rows(loaded: LoadedModel, rows: list[list[int]], requests: Sequence[GenerateRequest]) -> list[Drawing]:
    import torch

    from fastweights.models.ttt_lm import TTTLM

    lm = loaded.lm
    assert isinstance(lm, TTTLM)
    device = lm.head.weight.device
    drawings = [Drawing(loaded.tokenizer, request.sampling) for request in requests]
    with torch.inference_mode():
        carry = lm.init_carry(len(rows))
        longest = max(map(len, rows)) - 1
        for start in range(0, longest, PREFILL_TOKENS):
            width = min(PREFILL_TOKENS, longest - start)
            lengths = [min(max(len(row) - 1 - start, 0), width) for row in rows]
            tokens_BT = torch.zeros(len(rows), width, dtype=torch.long, device=device)
            for b, (row, n) in enumerate(zip(rows, lengths, strict=True)):
                tokens_BT[b, :n] = torch.tensor(row[start : start + n], dtype=torch.long)
            _, carry = lm.hidden(tokens_BT, carry, lengths=lengths)
        last_B = [row[-1] for row in rows]
        while any(one.stopped is None for one in drawings):
            logits_B1V, carry = lm.decode(torch.tensor(last_B, device=device)[:, None], carry)
            logits_BV = logits_B1V[:, 0].float().cpu().numpy()
            for b, one in enumerate(drawings):
                if one.stopped is None:
                    last_B[b] = one.draw(logits_BV[b])
    return drawings


def untrained(
    preset: str,
    *,
    text: bool,
    device: str | None = None,
    large_cpu: bool = False,
    notice: Callable[[str], None] = lambda line: None,
) -> OpenModel:
    """A preset's model with fresh weights from the preset's seed; nothing is stored.

    With ``text`` its vocabulary is the bytes, else the preset's own, without a text. A large model on a CPU becomes
    ``debug_tiny`` unless ``large_cpu``; one that is only planned is ``Unsupported``.
    """
    import torch

    from fastweights.models.device import pick_device, set_threads
    from fastweights.models.registry import LoadedModel, build
    from fastweights.models.ttt_lm_config import PRESETS
    from fastweights.train.config import load_config
    from fastweights.train.plan import is_large

    config = load_config(preset)
    if config.plan_only:
        raise Unsupported(f"preset {preset} is only planned, never built: fastweights train --preset {preset} says why")
    place = pick_device(device)
    if is_large(config) and place.type == "cpu" and not large_cpu:
        notice(
            f"notice: preset {preset} is large for a CPU, so {SMALL_PRESET} is used instead; --allow-large-cpu uses it "
            "all the same"
        )
        preset, config = SMALL_PRESET, load_config(SMALL_PRESET)
    size = PRESETS.get(str(config.model.get("size")))
    if not text and size is None:
        raise FastweightsError(f"preset {preset} has no vocabulary of its own: give --prompt, not --prompt-tokens")
    tokenizer = ByteTokenizer() if text or size is None else IdsTokenizer(size.vocab_size, 1, 2)
    set_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        lm = build(config.model_for(tokenizer.vocab_size)).to(place).eval().requires_grad_(False)
    return OpenModel(LoadedModel(f"untrained-{preset}", lm, tokenizer, {}))
