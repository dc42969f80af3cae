"""``fastweights eval``: figures of a model, by a command anyone can repeat."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from fastweights.cli import output

app = App(name="eval", help="Measure a model.")


@app.command
def ppl(
    *,
    file: Path,
    model: str | None = None,
    split: Literal["all", "heldout"] = "all",
    stream: Annotated[bool, Parameter(negative="--cold")] = True,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
) -> None:
    """Bits per byte of a file: how well the model predicts each byte from those before it.

    Parameters
    ----------
    file
        Any file, of any size; it is read as bytes.
    model
        Id of a model (default: the latest usable one; starter is always there).
    split
        heldout: only the last part of the file, cut where training would cut it.
    stream
        Carry the state from front to end; --cold: windows of 64 tokens, each without history.
    device
        auto, cpu, cuda or mps (default: TEXT_LM_DEVICE, else auto).
    """
    import torch

    from fastweights.clock import cpu_seconds
    from fastweights.evals.perplexity import perplexity
    from fastweights.models.device import pick_device
    from fastweights.models.registry import load_model
    from fastweights.store.models import Models
    from fastweights.train.loop import threads_for

    models = Models(output.current().store())
    model_id = models.resolve(model)
    loaded = load_model(models.path(model_id), pick_device(device))
    torch.set_num_threads(threads_for(sum(p.numel() for p in loaded.lm.parameters())))
    fraction = float(loaded.manifest.get("train_config", {}).get("val_fraction", 0.1))
    found = perplexity(loaded.lm, loaded.tokenizer, file, split=split, val_fraction=fraction, stream=stream)
    record = {
        "model_id": model_id,
        "file": str(file),
        "split": split,
        "mode": "stream" if stream else "cold",
        **found.as_dict(),
        "cpu_seconds": cpu_seconds(),
    }
    output.current().emit(
        record,
        f"{model_id} on {file} ({record['mode']}, {split}): {found.bits_per_byte:.4f} bits per byte over "
        f"{found.bytes:,} bytes ({found.tokens:,} tokens), {record['cpu_seconds']:.1f} CPU seconds",
    )
