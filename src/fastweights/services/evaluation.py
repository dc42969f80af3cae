"""Figures of a model in a store. Loads torch late."""

from pathlib import Path
from typing import Any, Literal

from fastweights.clock import cpu_seconds
from fastweights.store.models import Models
from fastweights.store.root import Store


def ppl(
    store: Store,
    file: Path,
    *,
    model_id: str | None = None,
    split: Literal["all", "heldout"] = "all",
    stream: bool = True,
    device: str | None = None,
) -> dict[str, Any]:
    """Bits per byte of a file under a model (none: the latest usable one), as the JSON that ``eval ppl`` prints.

    ``split="heldout"``: the last part of the file, as large as the model's own training held out.
    """
    import torch

    from fastweights.evals.perplexity import perplexity
    from fastweights.models.device import pick_device, threads_for
    from fastweights.models.registry import load_model

    models = Models(store)
    model_id = models.resolve(model_id)
    loaded = load_model(models.path(model_id), pick_device(device))
    torch.set_num_threads(threads_for(sum(p.numel() for p in loaded.lm.parameters())))
    fraction = float(loaded.manifest.get("train_config", {}).get("val_fraction", 0.1))
    found = perplexity(loaded.lm, loaded.tokenizer, file, split=split, val_fraction=fraction, stream=stream)
    return {
        "model_id": model_id,
        "file": str(file),
        "split": split,
        "mode": "stream" if stream else "cold",
        **found.as_dict(),
        "cpu_seconds": cpu_seconds(),
    }
