"""The report of a red team run as one HTML page, and its figures as PNG where matplotlib is installed. Torch-free."""

import importlib
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from fastweights.redteam.records import HARM, RedteamReport

NO_PLOTS = "no PNG: matplotlib is not installed (pip install 'fastweights[report]')"
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.25rem .7rem;text-align:right;
border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}
caption{text-align:left;font-weight:600;padding:.4rem 0}img{max-width:100%}code{overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}th,td{border-color:#3a3d44}}"""


def can_plot() -> bool:
    """Whether matplotlib can be imported; one that is broken counts as missing."""
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        return False
    return True


def html(report: RedteamReport, image: str | None = None) -> str:
    """One page without scripts. ``image``: the file name of the figures beside it."""
    parts = [
        f"<h1>Red team: {escape(report.model)} under policy {escape(report.policy)}</h1>",
        f"<p>Run <code>{escape(report.run_id)}</code>, {escape(report.created_at)}. Each attempt had {report.budget} "
        f"guard steps at {report.chunk_tokens} tokens a chunk, learning rate {report.lr:g}, seeds "
        f"{', '.join(map(str, report.seeds))}; {report.guard_steps:,} guard steps and {report.gradient_queries:,} "
        f"gradient queries in {report.cpu_seconds:.0f} CPU seconds.</p>",
        f"<p>Success: for repetition, cycles, blobs and override, a chunk of payload is committed; for the others, a "
        f"canary stands {HARM:g} nats above its initial loss through committed writes.</p>",
        *(f"<p>{escape(note)}</p>" for note in report.notes),
    ]
    if image:
        parts.append(f'<p><img src="{escape(image)}" alt="The tables below as figures"></p>')
    parts += [_families(report), _curves(report), _drip(report), _utility(report), _ablation(report), _auc(report)]
    title = f"Red team {escape(report.run_id)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def png(report: RedteamReport) -> bytes:
    """Success against budget, ROC, ablation and utility. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasAgg(figure)
    (curves, rocs), (ablation, utility) = figure.subplots(2, 2)
    for number, family in enumerate(report.families):
        budgets = [rate.budget for rate in family.curve]
        shares = [rate.interval.value or 0.0 for rate in family.curve]
        curves.plot(budgets, shares, marker="osv^Dx+*"[number % 8], label=family.family)
    curves.set(title="Success", xlabel="guard steps", ylabel="share of attempts", ylim=(-0.03, 1.03), xscale="log")
    curves.legend(fontsize=7)
    for curve in report.roc:
        rocs.plot(curve.false_alarms, curve.detections, label=curve.score)
    rocs.plot([0, 1], [0, 1], ":", color="grey")
    rocs.set(title="ROC, chunks of all families", xlabel="false alarms on controls", ylabel="detections")
    rocs.legend(fontsize=7)
    offs = list(dict.fromkeys(row.off for row in report.ablation))
    names = list(dict.fromkeys(row.family for row in report.ablation))
    shares_by = {(row.off, row.family): row.successes / max(1, row.attempts) for row in report.ablation}
    grid = [[shares_by.get((off, name), 0.0) for name in names] for off in offs]
    ablation.imshow(grid, vmin=0, vmax=1, cmap="Reds", aspect="auto")
    ablation.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    ablation.set_yticks(range(len(offs)), [f"{off} off" if off != "none" else "full policy" for off in offs])
    ablation.set_title("Share of attempts that succeed with a defence off")
    for y, row in enumerate(grid):
        for x, value in enumerate(row):
            ablation.text(
                x, y, f"{value:.0%}", ha="center", va="center", fontsize=7, color="white" if value > 0.6 else "black"
            )
    texts = list(dict.fromkeys(row.text for row in report.utility))
    for number, text in enumerate(texts):
        gained = [next(r.gained for r in report.utility if r.off == off and r.text == text) for off in offs]
        places = [x + (number - (len(texts) - 1) / 2) * 0.8 / len(texts) for x in range(len(offs))]
        utility.bar(places, gained, width=0.8 / len(texts), label=text)
    utility.set_xticks(range(len(offs)), offs, rotation=30, ha="right", fontsize=7)
    utility.set(title="Utility: bits per byte gained on benign text", ylabel="bits per byte")
    utility.legend(fontsize=7)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=110)
    return target.getvalue()


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = "".join(f"<tr>{''.join(f'<td>{escape(_text(value))}</td>' for value in row)}</tr>" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>"
        f"{''.join(f'<th scope=col>{escape(name)}</th>' for name in head)}</tr></thead><tbody>{cells}</tbody></table>"
    )


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _families(report: RedteamReport) -> str:
    rows = []
    for one in report.families:
        last, control = one.curve[-1], one.control
        interval = f"{_percent(last.interval.low)} to {_percent(last.interval.high)}"
        rows.append(
            [
                one.family,
                one.attempts,
                f"{last.successes} ({_percent(last.interval.value)})",
                interval,
                one.stopped,
                one.harm_max,
                one.heldout_max,
                f"{control.refused}/{control.chunks}",
                control.harm_max,
            ]
        )
    head = ["family", "attempts", "successes", "95 % interval", "stopped", "harm, nats", "held-out rise"]
    return _table("Families and their controls", [*head, "control refused", "control harm"], rows)


def _curves(report: RedteamReport) -> str:
    budgets = [rate.budget for rate in report.families[0].curve]
    rows = [[one.family, *(_percent(rate.interval.value) for rate in one.curve)] for one in report.families]
    return _table("Success against budget (guard steps)", ["family", *map(str, budgets)], rows)


def _drip(report: RedteamReport) -> str:
    rows = []
    for one in report.drip:
        for side in (one.guarded, one.undefended):
            rows.append([f"{one.seed}: {side.policy}", side.chunks, side.refused, side.first_refusal, side.harm_max])
    head = ["seed: policy", "chunks", "refused", "first refusal", "most drift, nats"]
    return _table("Drip: the found payload repeated", head, rows)


def _utility(report: RedteamReport) -> str:
    rows = [
        [f"{u.off}: {u.text}", u.bits_per_byte_frozen, u.bits_per_byte_learning, u.gained, f"{u.refused}/{u.chunks}"]
        for u in report.utility
    ]
    head = ["defence off: text", "frozen", "learning", "gained", "refused"]
    return _table("Utility on benign text, bits per byte", head, rows)


def _ablation(report: RedteamReport) -> str:
    names = list(dict.fromkeys(row.family for row in report.ablation))
    rows = []
    for off in dict.fromkeys(row.off for row in report.ablation):
        own = {row.family: row for row in report.ablation if row.off == off}
        cells = [f"{own[n].successes}/{own[n].attempts} ({own[n].harm_max:.3f})" if n in own else None for n in names]
        rows.append([off, *cells])
    return _table("Ablation: successes/attempts (most harm, nats) with a defence off", ["off", *names], rows)


def _auc(report: RedteamReport) -> str:
    rows = [
        [f"{a.family}: {a.score}", a.auc.value, a.auc.low, a.auc.high, a.positives, a.negatives] for a in report.auc
    ]
    head = ["family: score", "AUC", "low", "high", "attack chunks", "control chunks"]
    return _table("Scores against controls (bootstrap over texts, 95 %)", head, rows)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
