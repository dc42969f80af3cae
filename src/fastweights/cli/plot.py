"""``fastweights plot``: PNG and CSV of a training run."""

from pathlib import Path

from cyclopts import App

from fastweights.cli import output

app = App(name="plot", help="PNG and CSV of any training run.")


@app.default
def plot(run: str, *, out: Path | None = None) -> None:
    """Curves of a run of ``train`` or ``meta``, as pictures and as the numbers in them. Needs matplotlib.

    Of a plain run: loss_curves. Of meta-learning: meta_loss_curves (with the inner loss along a sequence, before and
    after) and meta_eval_acc (far and near over training; of text meta_eval_bpb).

    Parameters
    ----------
    run
        The model's id (``models ls``).
    out
        Folder for the files (default: ./RUN-plots).
    """
    from fastweights.services.plot import plot as draw

    shared = output.current()
    files = [str(path) for path in draw(shared.store(), run, out or Path(f"{run}-plots"))]
    shared.emit({"run": run, "files": files}, "\n".join(files))
