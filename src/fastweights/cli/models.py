"""``fastweights models``: what is in the store, and how it comes in and out."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from fastweights.cli import output

if TYPE_CHECKING:
    from fastweights.services.models import ModelService

Format = Literal["fastweights", "ttt-lm"]
app = App(name="models", help="List, show, import, export and remove models.")


def _service() -> "ModelService":
    from fastweights.services.models import ModelService
    from fastweights.store.models import Models

    return ModelService(Models(output.current().store()))


@app.command
def ls() -> None:
    """Every model, newest first; the shipped starter last."""
    service = _service()
    rows = service.list()
    for model_id, problem in service.damaged().items():
        output.current().notice(f"notice: model {model_id} is left out: {problem}")
    head = ("id", "kind", "status", "params", "step", "val bpb", "corpus", "tokenizer", "preset")
    lines = (
        (
            m.model_id,
            m.kind,
            m.status,
            m.params,
            f"{m.step}/{m.steps}",
            m.val_bpb,
            m.corpus.get("name"),
            m.tokenizer.get("kind"),
            m.preset,
        )
        for m in rows
    )
    empty = "no model yet; make one with: fastweights train"
    output.current().emit(rows, lambda: output.table(lines, head) if rows else empty)


@app.command
def show(model_id: str, /) -> None:
    """One model: its status, corpus, tokenizer and figures."""
    info = _service().show(model_id)
    fields = ((name, value) for name, value in info.model_dump(mode="json").items())
    output.current().emit(info, lambda: output.table(fields, ("field", "value")))


@app.command
def export(model_id: str, folder: Path, /, *, format: Format = "fastweights") -> None:
    """Copy a model (weights, config, tokenizer, manifest, log) into a new folder.

    Parameters
    ----------
    model_id
        Id of a model that has weights.
    folder
        A folder that does not exist yet.
    format
        ttt-lm: as the official TTT-LM code reads it (config.json, model.safetensors).
    """
    service = _service()
    if format == "ttt-lm":
        from fastweights.services.model_import import export_ttt_lm

        place = export_ttt_lm(service.models, model_id, folder)
    else:
        place = service.export(model_id, folder)
    output.current().emit({"model_id": model_id, "folder": str(place)}, f"{model_id} -> {place}")


@app.command(name="import")
def import_(
    folder: Path,
    /,
    *,
    format: Format = "fastweights",
    model_id: str | None = None,
    tokenizer: str | None = None,
) -> None:
    """Check a model's folder, and take the model into the store.

    Parameters
    ----------
    folder
        What 'models export' wrote; with --format ttt-lm, an official checkpoint.
    format
        ttt-lm: config.json beside *.safetensors, *.bin (a plain state dict) or a JAX streaming_params file.
    model_id
        Id in this store (default: the id it had; of an official checkpoint, the folder's name).
    tokenizer
        Of an official checkpoint: byte, hf:PATH, a SentencePiece FILE.model, or none (token ids only). Default: the one
        in its folder, else none.
    """
    service = _service()
    if format == "ttt-lm":
        from fastweights.services.model_import import import_ttt_lm

        info = service.show(import_ttt_lm(service.models, folder, model_id, tokenizer))
    elif tokenizer is not None:
        raise output.UsageError("--tokenizer is for --format ttt-lm: a model of 'models export' has its own")
    else:
        info = service.import_(folder, model_id)
    output.current().emit(info, f"{info.model_id}: {info.params:,} parameters, {info.status}")


@app.command
def rm(model_id: str, /, *, force: bool = False) -> None:
    """Delete a model, or what is left of a damaged one, so that its id is free again.

    Parameters
    ----------
    model_id
        Id of a model of the store (not the starter that ships).
    force
        Also if sessions stand on it; they can then no longer go on.
    """
    users = _service().remove(model_id, force=force)
    left = f"; {len(users)} sessions lack it now" if users else ""
    output.current().emit({"model_id": model_id, "removed": True, "sessions": users}, f"{model_id}: removed{left}")


@app.command
def approve(model_id: str, /) -> None:
    """Make a sleep candidate usable (`sleep show` has its evidence): the latest usable model from now on."""
    _decide(model_id, "approve")


@app.command
def reject(model_id: str, /) -> None:
    """Refuse a sleep candidate; its files stay until `models rm`."""
    _decide(model_id, "reject")


def _decide(model_id: str, decision: Literal["approve", "reject"]) -> None:
    from fastweights.services.sleep.candidates import Candidates

    found = Candidates(output.current().store()).decide(model_id, decision)
    output.current().emit(found, f"{found.model_id}: {found.status}")
