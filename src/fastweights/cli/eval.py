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
    from fastweights.services import evaluation

    found = evaluation.ppl(output.current().store(), file, model_id=model, split=split, stream=stream, device=device)
    output.current().emit(
        found,
        f"{found['model_id']} on {file} ({found['mode']}, {split}): {found['bits_per_byte']:.4f} bits per byte over "
        f"{found['bytes']:,} bytes ({found['tokens']:,} tokens), {found['cpu_seconds']:.1f} CPU seconds",
    )
