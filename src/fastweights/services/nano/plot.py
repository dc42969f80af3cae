"""The picture of a Nano run. Needs matplotlib."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fastweights.redteam.report import NO_PLOTS, can_plot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastweights.models.nano_reader import Steps

__all__ = ["NO_PLOTS", "can_plot", "curves_png"]
_POINTS = 500
_LEAST = 1e-12  # of a logarithmic axis: the oracle's error is 0 without noise


def curves_png(steps: Steps, refit: NDArray[np.float64], title: str) -> bytes:
    """Errors over time (means over windows) of frozen, adaptive and what they are held against, with update marks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    window = max(8, -(-len(steps.t) // _POINTS))
    curves = {
        "frozen base": (steps.baseline, "#7a7a7a"),
        "simulator, mean mu": (steps.mean_mu, "#b58900"),
        "re-fit by least squares": (refit, "#2aa198"),
        "adaptive": (steps.adaptive, "#d33682"),
        "oracle": (steps.oracle, "#268bd2"),
    }
    for label, (errors, color) in curves.items():
        smooth, ends = _means(errors, steps.t, window)
        if smooth.max() > _LEAST:
            axes.plot(ends, smooth.clip(_LEAST), label=f"{label}: {errors.mean():.3g}", color=color, linewidth=1.3)
        else:
            axes.plot([], [], label=f"{label}: {errors.mean():.3g} (below the axis)", color=color)
    for t in steps.t[steps.did_update & ~steps.update_ok].tolist()[:2000]:
        axes.axvline(t, color="#dc322f", linewidth=0.6, alpha=0.6)
    committed, refused = int(steps.update_ok.sum()), int((steps.did_update & ~steps.update_ok).sum())
    axes.set(
        title=f"{title}: {committed} writes committed, {refused} refused (red)",
        xlabel="step",
        ylabel=f"squared error one step ahead, means of {window} steps",
        yscale="log",
    )
    axes.legend(fontsize=8)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110)
    return target.getvalue()


def _means(
    errors: NDArray[np.float64], t: NDArray[np.int64], window: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    import numpy as np

    starts = np.arange(0, len(errors), window)
    counts = np.diff(np.append(starts, len(errors)))
    return np.add.reduceat(errors, starts) / counts, t[starts + counts - 1]
