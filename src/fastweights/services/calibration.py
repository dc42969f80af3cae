"""``monitor calibrate``: limits of a policy from benign text, for one model, at a declared rate of false alarms.

The texts go through the very loop of the monitor, with SPFW and a provisional audit enforced and all else on observe:
the limits rest on what would be committed, not on what would be attempted (the first chunks of foreign text overshoot,
and are shortened or rolled back). Torch loads when it runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fastweights.errors import FastweightsError
from fastweights.guard.calibrate import calibrate, conservative_quantile
from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.policy import AuditPolicy, CusumPolicy, DriftPolicy, Policy, SpfwPolicy
from fastweights.services.generate import ModelPool
from fastweights.services.monitor import file_blocks
from fastweights.services.monitor_loop import Monitor
from fastweights.services.monitor_parts import TOY, build_monitor
from fastweights.services.monitor_records import MonitorEvent, MonitorOptions
from fastweights.services.records import SessionOptions
from fastweights.services.update_rules import has_own_rule

SIZES = (32, 128)
_OOD_SHARE, _RISE_SHARE = 1 / 4, 1 / 6  # of the rate; the rest is the text rules', whose limits ship
_ROOM = 1.5  # limits of the candidate checks stand this much above what benign text needed
_LEAST = 0.005  # nats: a rise of a canary that small is no damage, however rare it was in the sample
_MOST = 0.045  # nats of drift: from 0.05 on a canary counts as harmed, so a budget beyond would guard nothing
_PROVISIONAL = 2.0  # times what SPFW shortens a write to: what it could not shorten is not what a session commits


@dataclass
class Observed:
    """Figures of benign chunks. ``streams``: each text's canary losses (before, after) of its commits, in order."""

    chunks: int = 0
    refused: int = 0  # by the provisional limits
    samples: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: {"loss": [], "grad_norm": []})
    rises: list[float] = field(default_factory=list)
    drift: float = 0.0
    streams: list[list[tuple[dict[str, float], dict[str, float]]]] = field(default_factory=list)

    def add(self, events: Iterable[MonitorEvent]) -> None:
        """One text's events, from a fresh state on."""
        stream = []
        for event in events:
            self.chunks += 1
            size = event.token_end - event.token_start
            for name, value in (("loss", event.loss), ("grad_norm", event.grad_norm)):
                if value is not None:
                    self.samples[name].append((size, value))
            if event.decision != "committed":
                self.refused += 1
                continue
            if event.canary_delta is not None:
                self.rises.append(event.canary_delta)
            self.drift = max(self.drift, event.drift or 0.0)
            known = [c for c in event.canaries if c.before is not None and c.after is not None]
            stream.append(({c.name: c.before for c in known}, {c.name: c.after for c in known}))
        self.streams.append(stream)

    def cusum(self, slack: float) -> float:
        """The highest sum that any canary reached with this slack."""
        from fastweights.guard.checks import cusums_after

        highest = 0.0
        for stream in self.streams:
            sums: dict[str, float] = {}
            for before, after in stream:
                sums = cusums_after(sums, before, after, slack)
                highest = max(highest, *sums.values())
        return highest


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

    Every file is read once for each chunk size, from a fresh state. ``lr`` defaults to the monitor's for the toy and to
    the sessions', which is higher, for a model. Raises FastweightsError without text or for a rate outside (0, 0.5).
    """
    if not 0 < fpr < 0.5:
        raise FastweightsError(f"fpr is {fpr}: give a rate between 0 and 0.5, such as 0.01")
    if not paths:
        raise FastweightsError("benign is empty: give at least one file of harmless text")
    observed = Observed()
    rate = default_rate(pool, model) if lr is None else lr
    for size in sizes:
        options = MonitorOptions(model=model, chunk_tokens=size, policy=_provisional(), lr=rate)
        for path in paths:
            observed.add(Monitor(build_monitor(pool, options), options).read(file_blocks(path)))
    if not observed.chunks:
        raise FastweightsError("benign texts have no token in them: give files with text")
    if not observed.rises:
        raise FastweightsError(f"lr is {rate}: no chunk of the benign texts was committed, give a lower one")
    # The text rules keep the shipped limits, which rest on far more text. A trained model gets no out-of-distribution
    # rule: a script that it never read is beyond all other benign text (21 nats a token), and what it should learn.
    gate = GatePolicy(ood=calibrate(observed.samples, fpr * _OOD_SHARE).ood) if model == TOY else GatePolicy()
    rise = max(_ROOM * conservative_quantile(observed.rises, fpr * _RISE_SHARE, "high"), _LEAST)
    slack = max(0.0, median(observed.rises))
    policy = Policy(
        name=name or f"{model}-calibrated"[:64],
        audit=AuditPolicy(max_delta=_rounded(rise), spread_floor=_rounded(rise / 8)),
        cusum=CusumPolicy(slack=_rounded(slack), limit=_rounded(max(_ROOM * observed.cusum(slack), 4 * _LEAST))),
        drift=DriftPolicy(budget=_rounded(min(max(_ROOM * observed.drift, 4 * _LEAST), _MOST))),
        gate=gate,
    )
    return policy, observed


def default_rate(pool: ModelPool, model: str) -> float:
    """Of a model the learning rate of sessions, which is the higher; the monitor's of the toy, which has no sessions,
    and of a model that learns by a rule of its own, where it means nothing."""
    own = model == TOY or has_own_rule(pool.models, model)
    return (MonitorOptions if own else SessionOptions).model_fields["lr"].default


def policy_file(policy: Policy, command: str, paths: Sequence[Path], sizes: Sequence[int] = SIZES) -> str:
    """The policy as YAML, headed by what it was made with: command, chunk sizes, and each text's size and hash."""
    import yaml

    texts = [f"{path.name}: {path.stat().st_size} bytes, sha256 {_sha256(path)}" for path in paths]
    head = [command, f"Chunks of {' and '.join(map(str, sizes))} tokens, seed 0. Texts:", *texts]
    content = policy.model_dump(mode="json", exclude_none=True)
    return "".join(f"# {line}\n" for line in head) + yaml.safe_dump(content, sort_keys=False)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _provisional() -> Policy:
    """What measures: SPFW is on, and what it cannot bring down to about its own limit is rolled back."""
    rules = {name: {"mode": "observe"} for name in GatePolicy.model_fields}
    return Policy(
        name="calibration",
        audit=AuditPolicy(max_delta=_PROVISIONAL * SpfwPolicy().max_rise, max_z=1e6),
        cusum=CusumPolicy(mode="observe"),
        drift=DriftPolicy(mode="observe"),
        gate=GatePolicy.model_validate(rules),
    )
