"""Models in the format of others: official TTT-LM checkpoints in and out. Torch loads when one is read."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from fastweights.data.ids_tokenizer import IdsTokenizer
from fastweights.data.tokenizer import Tokenizer, load_tokenizer, open_tokenizer
from fastweights.errors import Conflict, FastweightsError, NotFound, Unsupported
from fastweights.store import atomic
from fastweights.store.models import CHECKPOINT, Models

FORMAT = "ttt-lm"
NO_TOKENIZER = "none"
_OWN_TOKENIZER = "fastweights_tokenizer.json"


def import_ttt_lm(models: Models, folder: Path, model_id: str | None = None, tokenizer: str | None = None) -> str:
    """Take in an official checkpoint (``config.json`` beside safetensors, ``.bin`` or a JAX stream); returns its id.

    ``tokenizer``: as :func:`fastweights.data.tokenizer.open_tokenizer` takes it, or ``"none"``; None: the folder's own
    (``tokenizer.json`` of Hugging Face, ``tokenizer.model`` of SentencePiece) or, where it has none, no tokenizer, so
    that the model reads token ids only. ``Corrupt``, ``NotFound`` or ``Unsupported`` name what cannot be read.
    """
    from fastweights.models.ttt_lm_config import parameters
    from fastweights.models.ttt_official import import_official
    from fastweights.store.objects import sha256
    from fastweights.store.tensors import dumps

    if not folder.is_dir():
        raise NotFound(f"folder {folder} does not exist: give the folder of an official TTT-LM checkpoint")
    own = model_id or _id_of(folder)
    models.check_free(own)
    config, state = import_official(folder)
    chosen = _tokenizer(folder, tokenizer, config.vocab_size)
    data = dumps(state)
    place = models.create(  # not usable before its files are there
        own,
        {
            "kind": config.kind,
            "params": parameters(config),
            "step": 0,
            "steps": 0,
            "val_bpb": None,
            "preset": None,
            "corpus": {},
            "tokenizer": {"kind": chosen.kind, "vocab_size": chosen.vocab_size},
            "source": {"format": FORMAT, "folder": str(folder.absolute())},
            "ckpt_dir": None,
            "checkpoint_sha256": sha256(data),
        },
    )
    chosen.save(place / "tokenizer.json")
    atomic.write_json(place / "config.json", config.model_dump(mode="json"))
    atomic.write_bytes(place / CHECKPOINT, data)
    models.update(own, status="ready")
    return own


def export_ttt_lm(models: Models, model_id: str, folder: Path) -> Path:
    """Write a TTT model as the official PyTorch code reads it, into a ``folder`` that must not exist yet.

    The tokenizer is written beside it for :func:`import_ttt_lm`. ``Unsupported`` where the official format cannot
    express the model.
    """
    from fastweights.models.registry import load_model
    from fastweights.models.ttt_lm import TTTLM
    from fastweights.models.ttt_official import export_official

    if folder.exists():
        raise Conflict(f"folder {folder} exists already; name one that does not")
    loaded = load_model(models.path(models.resolve(model_id)))
    if not isinstance(loaded.lm, TTTLM):
        raise Unsupported(f"model {model_id!r} is a {loaded.lm.config.kind}: only a ttt_lm can be written as {FORMAT}")
    temp = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        export_official(loaded.lm, temp)
        if loaded.tokenizer.kind != IdsTokenizer.kind:
            loaded.tokenizer.save(temp / _OWN_TOKENIZER)
        _name_specials(temp / "config.json", loaded.tokenizer)
        temp.rename(folder)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
    return folder


def _id_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", folder.absolute().name.lower()).strip("-_")[:64]
    if not name:
        raise FastweightsError(f"folder {folder} has no name that could be an id: give one with --model-id")
    return name


def _tokenizer(folder: Path, name: str | None, vocab: int) -> Tokenizer:
    found = _found_tokenizer(folder) if name is None else open_tokenizer(name) if name != NO_TOKENIZER else None
    if found is None:
        fields = atomic.read_json(folder / "config.json")
        return IdsTokenizer(vocab, _special(fields, "bos", 1, vocab), _special(fields, "eos", 2, vocab))
    if found.vocab_size != vocab:
        raise FastweightsError(
            f"tokenizer of {folder} has {found.vocab_size} tokens, the model {vocab}: name the model's own with "
            f"--tokenizer, or {NO_TOKENIZER} for a model that reads token ids only"
        )
    return found


def _found_tokenizer(folder: Path) -> Tokenizer | None:
    if (own := folder / _OWN_TOKENIZER).is_file():
        return load_tokenizer(own)
    if (folder / "tokenizer.json").is_file():
        return open_tokenizer(f"hf:{folder}")
    if (file := folder / "tokenizer.model").is_file():
        return open_tokenizer(str(file))
    return None


def _special(fields: dict[str, Any], name: str, default: int, vocab: int) -> int:
    value = fields.get(f"{name}_token_id")
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, int) and 0 <= value < vocab else min(default, vocab - 1)


def _name_specials(file: Path, tokenizer: Tokenizer) -> None:
    fields = atomic.read_json(file)
    atomic.write_json(file, {**fields, "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id})
