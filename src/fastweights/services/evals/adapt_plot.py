"""The picture of ``eval adapt``. Needs matplotlib."""

from __future__ import annotations

import io
from typing import Any

from fastweights.errors import Unsupported
from fastweights.redteam.report import NO_PLOTS, can_plot


def adapt_png(found: dict[str, Any]) -> bytes:
    """One panel a text: bits per byte of each reader, the gain's interval as a whisker. PNG bytes."""
    if not can_plot():
        raise Unsupported(NO_PLOTS)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts = found["texts"]
    figure = Figure(figsize=(8, 3.2 * len(texts)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(texts), 1, squeeze=False)[:, 0]
    for panel, row in zip(panels, texts, strict=True):
        readers = {
            name: f for name, f in row.items() if isinstance(f, dict) and (name != "default" or f["memory"] is None)
        }
        bits = [f["bits_per_byte"] for f in readers.values()]
        spans = [f.get("gain_ci95", (0.0, 0.0)) for f in readers.values()]
        whiskers = [(high - low) / 2 for low, high in spans]
        panel.barh([*readers], bits, xerr=whiskers, color="tab:blue")
        panel.invert_yaxis()
        panel.set_title(f"{row['file']} ({row['bytes']:,} bytes)", fontsize=9)
        panel.set_xlabel("bits per byte")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
