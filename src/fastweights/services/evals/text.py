"""Figures of a model in a store. Loads torch late."""

from pathlib import Path
from typing import Any, Literal

from fastweights.clock import cpu_seconds
from fastweights.errors import Unsupported
from fastweights.services.trained_length import past_length
from fastweights.store.models import Models
from fastweights.store.root import Store


def ppl(
    store: Store,
    file: Path,
    *,
    model_id: str | None = None,
    split: Literal["all", "heldout"] = "all",
    stream: bool = True,
    reset_every: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Bits per byte of a file under a model (none: the latest usable one), as the JSON that ``eval ppl`` prints.

    ``split="heldout"``: the last part of the file, as large as the model's own training held out. ``reset_every``: a
    fresh state every so many tokens (None: never, or every 64 where ``stream`` is false). ``warning``: None, or that a
    TTT model was read past the length that it was trained on.
    """
    import torch

    from fastweights.evals.perplexity import perplexity
    from fastweights.models.device import pick_device, threads_for
    from fastweights.models.registry import load_model
    from fastweights.models.scoring import COLD_WINDOW

    models = Models(store)
    model_id = models.resolve(model_id)
    loaded = load_model(models.path(model_id), pick_device(device))
    torch.set_num_threads(threads_for(sum(p.numel() for p in loaded.lm.parameters())))
    fraction = float(loaded.manifest.get("train_config", {}).get("val_fraction", 0.1))
    stream, window = stream and reset_every is None, reset_every or COLD_WINDOW
    how: dict[str, Any] = {"split": split, "val_fraction": fraction, "stream": stream, "cold_window": window}
    found = perplexity(loaded.lm, loaded.tokenizer, file, **how)
    read = found.tokens if stream else min(found.tokens, window)
    return {
        "model_id": model_id,
        "file": str(file),
        "split": split,
        "mode": "stream" if stream else "cold",
        "reset_every": None if stream else window,
        "warning": past_length(loaded, 0, read, "--reset-every {} starts afresh"),
        **found.as_dict(),
        "cpu_seconds": cpu_seconds(),
    }


def logits(
    store: Store,
    ids: Path,
    out: Path,
    *,
    model_id: str | None = None,
    mode: Literal["prefill", "decode", "mixed"] = "prefill",
    prefill: int | None = None,
    precision: Literal["fp64", "fp32"] = "fp64",
    device: str | None = None,
) -> dict[str, Any]:
    """Write the ``logits [B, T, V]`` (fp32) of a safetensors file of ids, as :func:`logits_of` makes them, to ``out``.

    Computed in fp64, so that what differs from another implementation is that one's rounding, or in fp32, as the model
    runs. Returns the JSON that ``eval logits`` prints; ``prefill_gap``: the largest difference to the prefill's.
    """
    import torch

    from fastweights.evals.logits import logits_of, read_ids
    from fastweights.models.device import pick_device, set_threads
    from fastweights.models.registry import load_model
    from fastweights.store.tensors import save_tensors

    models = Models(store)
    model_id = models.resolve(model_id)
    set_threads()
    place = pick_device(device)
    if precision == "fp64" and place.type == "mps":
        raise Unsupported("precision fp64 does not exist on mps: give --precision fp32, or --device cpu")
    lm = load_model(models.path(model_id), place).lm.to({"fp64": torch.float64, "fp32": torch.float32}[precision])
    ids_BT = read_ids(ids, lm.config.vocab_size)
    logits_BTV = logits_of(lm, ids_BT, mode, prefill=prefill)
    gap = 0.0 if mode == "prefill" else float((logits_BTV - logits_of(lm, ids_BT)).abs().max())
    out.parent.mkdir(parents=True, exist_ok=True)
    sha = save_tensors(out, {"logits": logits_BTV})
    return {
        "model_id": model_id,
        "mode": mode,
        "precision": precision,
        "ids": str(ids),
        "out": str(out),
        "shape": list(logits_BTV.shape),
        "sha256": sha,
        "prefill_gap": gap,
        "cpu_seconds": cpu_seconds(),
    }
