"""The logits of given token ids: how any model is compared with another implementation of it, number for number.

Legend: B sequences, T time, V vocabulary.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fastweights.errors import Corrupt, FastweightsError, NotFound
from fastweights.models.registry import LanguageModel
from fastweights.models.ttt_lm import TTTLM
from fastweights.store.tensors import load_tensors

Mode = Literal["prefill", "decode", "mixed"]
NAMES = ("input_ids", "ids", "tokens")


def read_ids(file: Path, vocab_size: int) -> Tensor:
    """Int64 ``ids_BT`` of a safetensors file: its tensor ``input_ids``, ``ids`` or ``tokens``, or its only one.

    ``FastweightsError`` for other shapes, dtypes, or ids outside of the vocabulary.
    """
    if not file.is_file():
        raise NotFound(f"ids {file} does not exist: give a safetensors file with input_ids [B, T]")
    tensors, _ = load_tensors(file, None)
    name = next((name for name in NAMES if name in tensors), next(iter(tensors)) if len(tensors) == 1 else None)
    if name is None:
        raise Corrupt(f"ids {file} holds {', '.join(sorted(tensors)[:6]) or 'nothing'}: name the ids input_ids")
    ids = tensors[name]
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.ndim not in (1, 2) or not ids.numel():
        raise FastweightsError(f"ids {file}: {name} is {ids.dtype} {list(ids.shape)}; give integers [B, T] with T >= 1")
    ids_BT = ids.long().view(-1, ids.shape[-1])
    low, high = int(ids_BT.min()), int(ids_BT.max())
    if low < 0 or high >= vocab_size:
        bad = low if low < 0 else high
        raise FastweightsError(f"ids {file}: {name} holds {bad}, the vocabulary has ids 0 to {vocab_size - 1}")
    return ids_BT


def logits_of(lm: LanguageModel, ids_BT: Tensor, mode: Mode = "prefill", *, prefill: int | None = None) -> Tensor:
    """Next-token logits ``[B, T, V]`` (fp32, on the CPU), from a fresh state, computed in the model's own dtype.

    ``prefill``: all tokens at once. ``decode``: token by token, as the model decodes. ``mixed``: the first ``prefill``
    tokens (default: half of them) at once, the others token by token.
    """
    T = ids_BT.shape[1]
    first = {"prefill": T, "decode": 0, "mixed": T // 2 if prefill is None else prefill}[mode]
    if not 0 <= first <= T:
        raise FastweightsError(f"prefill {first}: the ids have {T} tokens, so give a number from 0 to {T}")
    ids_BT = ids_BT.to(lm.head.weight.device)
    step = lm.decode if isinstance(lm, TTTLM) else lm.__call__
    parts, carry = [], lm.init_carry(len(ids_BT))
    with torch.inference_mode():
        if first:
            logits_BTV, carry = lm(ids_BT[:, :first], carry)
            parts.append(logits_BTV.float().cpu())
        for t in range(first, T):
            logits_B1V, carry = step(ids_BT[:, t : t + 1], carry)
            parts.append(logits_B1V.float().cpu())
    return torch.cat(parts, dim=1)
