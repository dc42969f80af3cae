"""The log of a training run as CSV and pictures. Torch-free; matplotlib loads with the first picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError, Unsupported
from fastweights.redteam.report import can_plot
from fastweights.services.jobs import TrainJobs
from fastweights.services.records import TrainPoint
from fastweights.store import atomic
from fastweights.store.root import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLUE, _YELLOW, _GREY = "#268bd2", "#b58900", "#7a7a7a"


def plot(store: Store, run: str, folder: Path) -> list[Path]:
    """Writes the pictures of a run (a model's id), each with the numbers that it shows; the files written.

    Of a plain run ``loss_curves``. Of a meta run ``meta_loss_curves``: the outer loss, and (KV) the inner loss along a
    sequence at the first and the last look; and ``meta_eval_acc``: KV accuracy, far and near, over training, or of text
    ``meta_eval_bpb``. Raises :class:`Unsupported` without matplotlib.
    """
    if not can_plot():
        raise Unsupported("plot needs matplotlib: install it with pip install 'fastweights[report]'")
    points = TrainJobs(store).metrics(run)
    if not points:
        raise FastweightsError(f"run {run!r} has no row in its log yet: wait for its first, or name another run")
    looks = [point for point in points if point.val_bpb is not None]
    curves = [point for point in looks if point.inner_loss]
    kv, text = any(point.far is not None or point.near is not None for point in looks), _any(looks, "val_bpb_off")
    name = "meta_loss_curves" if kv or text or curves else "loss_curves"
    figures: dict[str, bytes] = {f"{name}.csv": _csv(TrainPoint.model_fields, map(_row, points))}
    figures[f"{name}.png"] = _losses(points, looks, curves, run, kv)
    if curves:
        figures["meta_inner_loss.csv"] = _csv(("step", "updates", "chunk", "nats_per_token"), _inner(curves))
    if kv or text:
        what = "meta_eval_acc" if kv else "meta_eval_bpb"
        columns = ("step", *(("far", "near") if kv else ("val_bpb", "val_bpb_off")))
        figures[f"{what}.csv"] = _csv(columns, ([getattr(point, column) for column in columns] for point in looks))
        figures[f"{what}.png"] = _looks(looks, columns[1:], run, kv)
    atomic.ensure_dir(folder)
    for file, data in figures.items():
        atomic.write_bytes(folder / file, data)
    return [folder / file for file in figures]


def _any(points: Iterable[TrainPoint], name: str) -> bool:
    return any(getattr(point, name) is not None for point in points)


def _row(point: TrainPoint) -> list[Any]:
    values = (getattr(point, name) for name in TrainPoint.model_fields)
    return [atomic.dump_json(value).decode() if isinstance(value, list | dict) else value for value in values]


def _inner(points: Sequence[TrainPoint]) -> Iterable[tuple[Any, ...]]:
    for point in points:
        for updates, curve in (("on", point.inner_loss), ("off", point.inner_loss_off)):
            yield from ((point.step, updates, chunk, value) for chunk, value in enumerate(curve or (), 1))


def _csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head])
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue().encode()


# ---------------------------------------------------------------- pictures


def _figure(panels: int) -> tuple[Figure, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * panels, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    return figure, [*axes]


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()


def _losses(points: list[TrainPoint], looks: list[TrainPoint], curves: list[TrainPoint], run: str, kv: bool) -> bytes:
    """The training loss and, beside it, what was held out: of KV runs the inner loss along a sequence, else bits."""
    figure, (left, *rest) = _figure(2 if looks else 1)
    left.plot([p.step for p in points], [p.loss for p in points], color=_BLUE, linewidth=1.3)
    left.set(title=f"{run}: training loss", xlabel="step", ylabel="nats an answer" if kv else "nats a token")
    if curves:
        (right,) = rest
        for point, style in zip((curves[0], curves[-1]), ("--", "-"), strict=True):
            for curve, label, color in ((point.inner_loss, "on", _BLUE), (point.inner_loss_off, "off", _GREY)):
                values = [float("nan") if value is None else value for value in curve or ()]
                if values:
                    chunks = range(1, len(values) + 1)
                    right.plot(chunks, values, style, color=color, label=f"step {point.step}, updates {label}")
        right.set(title="inner loss along a sequence", xlabel="chunk", ylabel="nats a token")
        right.legend(fontsize=8)
    elif rest:
        _bits(rest[0], looks, ("val_bpb", "val_bpb_off"))
    return _png(figure)


def _looks(looks: list[TrainPoint], columns: Sequence[str], run: str, kv: bool) -> bytes:
    figure, (axes,) = _figure(1)
    if kv:
        for name, color in zip(columns, (_BLUE, _YELLOW), strict=True):
            _line(axes, looks, name, name, color)
        axes.set(title=f"{run}: KV retrieval, held out", xlabel="step", ylabel="accuracy", ylim=(-0.03, 1.03))
        axes.legend(fontsize=8)
    else:
        _bits(axes, looks, columns)
    return _png(figure)


def _bits(axes: Any, looks: list[TrainPoint], columns: Sequence[str]) -> None:
    labels = {"val_bpb": "as the model reads", "val_bpb_off": "updates off"}
    several = _any(looks, "val_bpb_off")
    for name, color in zip(columns, (_BLUE, _GREY), strict=False):
        if _any(looks, name):
            _line(axes, looks, name, labels[name] if several else name, color)
    axes.set(title="held-out text", xlabel="step", ylabel="bits a byte")
    if several:
        axes.legend(fontsize=8)


def _line(axes: Any, looks: list[TrainPoint], name: str, label: str, color: str) -> None:
    known = [(p.step, getattr(p, name)) for p in looks if getattr(p, name) is not None]
    axes.plot([step for step, _ in known], [value for _, value in known], "o-", markersize=3, label=label, color=color)
