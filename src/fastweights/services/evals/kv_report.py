"""The table of ``eval kv`` as CSV and as a picture (which needs matplotlib)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastweights.redteam.report import NO_PLOTS, can_plot
from fastweights.services.evals.kv import ROWS
from fastweights.store import atomic

COLUMNS = ("far", "far_low", "far_high", "near", "near_low", "near_high")


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One a model that was run: name, far and near accuracy with their intervals."""
    table = []
    for name in ROWS:
        if (row := found[name]) is not None:
            cells = [value for kind in ("far", "near") for value in (row[kind], *row[f"{kind}_interval"])]
            table.append((name, *("" if value is None else f"{value:.4f}" for value in cells)))
    return table


def write(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """``kv.csv``, ``kv.json`` and, where matplotlib is there, ``kv.png``; the files written."""
    atomic.ensure_dir(folder)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("model", *COLUMNS), *rows(found)])
    files = {"kv.csv": text.getvalue().encode(), "kv.json": atomic.dump_json(dict(found)) + b"\n"}
    if can_plot():
        files["kv.png"] = _png(found)
    for name, data in files.items():
        atomic.write_bytes(folder / name, data)
    return [folder / name for name in files]


def _png(found: Mapping[str, Any]) -> bytes:
    """Bars of far and near accuracy, each seed a dot; beside them the inner loss along a sequence."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    bars, curves = figure.subplots(1, 2, width_ratios=(2, 1))
    names = [name for name in ROWS if found[name] is not None]
    for kind, shift, color in (("far", -0.2, "#268bd2"), ("near", 0.2, "#b58900")):
        heights = [found[name][kind] or 0.0 for name in names]
        bars.bar([i + shift for i in range(len(names))], heights, 0.38, label=kind, color=color)
        for i, name in enumerate(names):
            each = [value for value in found[name][f"{kind}_per_seed"] if value is not None]
            bars.plot([i + shift] * len(each), each, ".", color="black", markersize=4)
    bars.axhline(found["chance"], color="#7a7a7a", linewidth=1, linestyle=":", label="chance")
    bars.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=8)
    bars.set_ylabel("accuracy")
    bars.legend()
    for name, seeds in found["inner_loss"].items():
        mean = [sum(values) / len(values) for values in zip(*seeds, strict=True)]
        curves.plot(range(1, len(mean) + 1), mean, label=name.replace("_", " "))
    curves.set_xlabel("chunk")
    curves.set_ylabel("inner loss (nats a token)")
    curves.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()


__all__ = ["COLUMNS", "NO_PLOTS", "can_plot", "rows", "write"]
