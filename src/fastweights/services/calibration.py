"""``monitor calibrate``: limits of a policy from benign text, for one model, at a declared rate of false alarms.

The texts go through the very loop of the monitor with every check on observe, so the figures are those that a run
sees: gate statistics, loss and gradient norm a chunk, canary rises, drift. Torch loads when it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fastweights.errors import FastweightsError
from fastweights.guard.calibrate import calibrate, conservative_quantile, text_samples
from fastweights.guard.gate_policy import GatePolicy, complete_gate
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, Policy
from fastweights.guard.signals import LOOK_BACK
from fastweights.services.generate import ModelPool
from fastweights.services.monitor import file_blocks
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import TOY, build_monitor
from fastweights.services.records import MonitorOptions

SIZES = (32, 128)
_GATE_SHARE = 0.5  # of the rate; the candidate checks have the rest
_ROOM = 1.5  # limits of the candidate checks stand this much above what benign text needed
_LEAST = 0.005  # nats: a rise of a canary that small is no damage, however rare it was in the sample


@dataclass
class Observed:
    """Figures of benign chunks; each canary figure once a chunk."""

    chunks: int = 0
    samples: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    rises: list[float] = field(default_factory=list)
    drifts: list[float] = field(default_factory=list)
    cusums: list[float] = field(default_factory=list)

    def add(self, name: str, size: int, value: float | None) -> None:
        if value is not None:
            self.samples.setdefault(name, []).append((size, value))


def calibrate_policy(
    pool: ModelPool,
    paths: Sequence[Path],
    *,
    model: str = TOY,
    fpr: float = 0.01,
    sizes: Sequence[int] = SIZES,
    name: str | None = None,
    lr: float | None = None,
) -> tuple[Policy, Observed]:
    """A policy whose checks together refuse at most ``fpr`` of chunks of text like this, and what it rests on.

    Every file is read once for each chunk size, from a fresh state. Raises FastweightsError without text or for a rate
    outside (0, 0.5).
    """
    if not 0 < fpr < 0.5:
        raise FastweightsError(f"fpr is {fpr}: give a rate between 0 and 0.5, such as 0.01")
    if not paths:
        raise FastweightsError("benign is empty: give at least one file of harmless text")
    observed = Observed()
    for size in sizes:
        options = MonitorOptions(model=model, chunk_tokens=size, policy=_watching())
        if lr is not None:
            options = options.model_copy(update={"lr": lr})
        for path in paths:
            _observe(build_and_read(pool, options, path), observed)
    if not observed.chunks:
        raise FastweightsError("benign texts have no token in them: give files with text")
    gate = calibrate(observed.samples, fpr * _GATE_SHARE)
    words = model == TOY or pool.open(model).loaded.tokenizer.kind != "byte"
    shipped = complete_gate(None, words=words)
    # The text rules keep the shipped limits, which rest on far more text; the model's own rule is what is new here.
    gate = shipped.model_copy(update={"ood": gate.ood})
    share = fpr * (1 - _GATE_SHARE) / 3
    rise = conservative_quantile(observed.rises, share, "high")
    slack = max(0.0, median(observed.rises))
    policy = Policy(
        name=name or f"{model}-calibrated"[:64],
        audit=AuditPolicy(max_delta=max(_ROOM * rise, _LEAST), spread_floor=max(_ROOM * rise, _LEAST) / 8),
        cusum=CusumPolicy(slack=slack, limit=max(_ROOM * max(observed.cusums), 4 * _LEAST)),
        drift=DriftPolicy(budget=max(_ROOM * max(observed.drifts), 4 * _LEAST)),
        gate=gate,
    )
    return policy, observed


def build_and_read(pool: ModelPool, options: MonitorOptions, path: Path) -> Iterable[tuple[str, str, list[int], dict]]:
    """(text, look-back, ids, figures) of each chunk of a file."""
    from fastweights.data.text_chunks import decoded

    parts = build_monitor(pool, options)
    texts = [part for part, _ in parts.chunks(decoded(file_blocks(path)))]
    monitor, tail = Monitor(build_monitor(pool, options), options), ""
    for part, event in zip(texts, monitor.read(file_blocks(path)), strict=True):
        figures = {
            "loss": event.loss,
            "grad_norm": event.grad_norm,
            "rise": event.canary_delta,
            "drift": event.drift,
            "cusum": event.cusum,
        }
        yield part.text, tail, part.ids, figures
        tail = (tail + part.text)[-LOOK_BACK:]


def _observe(chunks: Iterable[tuple[str, str, list[int], dict]], observed: Observed) -> None:
    kept = []
    for text, tail, ids, figures in chunks:
        observed.chunks += 1
        observed.add("loss", len(ids), figures["loss"])
        observed.add("grad_norm", len(ids), figures["grad_norm"])
        for values, name in ((observed.rises, "rise"), (observed.drifts, "drift"), (observed.cusums, "cusum")):
            if figures[name] is not None:
                values.append(figures[name])
        kept.append((text, tail, ids))
    for name, values in text_samples(kept).items():
        for size, value in values:
            observed.add(name, size, value)


def _watching() -> Policy:
    """Every check measures, none refuses; SPFW stays on, since it shapes what canaries do."""
    observe = {"mode": "observe"}
    rules = dict.fromkeys(GatePolicy.model_fields, observe)
    return Policy(
        name="calibration",
        audit=AuditPolicy(mode="observe"),
        cusum=CusumPolicy(mode="observe", slack=0.0, limit=1e6),
        drift=DriftPolicy(mode="observe"),
        gate=GatePolicy.model_validate(rules),
    )
