"""The monitor itself: any stream of bytes, chunk by chunk through the guard, one event a chunk, in constant memory."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from fastweights.clock import cpu_seconds
from fastweights.data.text_chunks import TextChunk, decoded
from fastweights.guard.event import Event
from fastweights.guard.policy import Policy
from fastweights.services.monitor_parts import MonitorParts
from fastweights.services.monitor_records import MonitorEvent, MonitorOptions, MonitorSummary

if TYPE_CHECKING:
    from fastweights.core.state import Chunk
    from fastweights.guard.guard import Outcome
    from fastweights.guard.state import Session

_HISTORY, _MIN_HISTORY = 64, 8
_SPREAD_SHARE = 0.05  # of the median: the least spread of norms, so that a MAD of 0 raises no flag
_HEAVY = 4.0  # times the typical gradient norm: the earlier lab's 2.5 against the toy's 0.65 at 128 tokens
_TOP_TOKENS = 8


class Monitor:
    """Reads one stream. The figures so far are :meth:`summary`, at any time."""

    def __init__(self, parts: MonitorParts, options: MonitorOptions) -> None:
        self.parts, self.options = parts, options
        self.counts = {"committed": 0, "blocked": 0, "rolled_back": 0}
        self.chunks = self.tokens = self.flagged = 0
        self.drift: float | None = None
        self._nats, self._counted = 0.0, 0
        self._cpu = 0.0
        self._grad_norms: deque[float] = deque(maxlen=_HISTORY)
        self._update_norms: deque[float] = deque(maxlen=_HISTORY)

    def read(self, blocks: Iterable[bytes], cancelled: Callable[[], bool] | None = None) -> Iterator[MonitorEvent]:
        """One event a chunk, as soon as it is judged; ends early once ``cancelled`` is true."""
        from fastweights.guard.stream import read

        parts = self.parts
        session = parts.guard.begin(parts.learner, parts.learner.init())
        current: list[TextChunk] = []

        def chunks() -> Iterator[Chunk]:
            for part, chunk in parts.chunks(decoded(blocks)):
                current[:] = [part]
                yield chunk

        started = time.process_time()
        for outcome in read(parts.guard, parts.learner, session, chunks(), write=self.options.updates):
            event = self._event(current[0], session, outcome)
            session = outcome.session
            self._cpu += time.process_time() - started
            yield event
            if cancelled is not None and cancelled():
                return
            started = time.process_time()

    def summary(self, file: str | None = None) -> MonitorSummary:
        """The figures of what was read so far."""
        options = self.options
        return MonitorSummary(
            file=file,
            model=options.model,
            policy=options.policy.name,
            updates=options.updates,
            chunks=self.chunks,
            committed=self.counts["committed"],
            blocked=self.counts["blocked"],
            rolled_back=self.counts["rolled_back"],
            flagged=self.flagged,
            tokens=self.tokens,
            loss_mean=self._nats / self._counted if self._counted else None,
            drift=self.drift,
            cpu_seconds=cpu_seconds(),
            tokens_per_cpu_second=self.tokens / self._cpu if self._cpu > 0 else None,
        )

    # ------------------------------------------------------------------ one event

    def _event(self, part: TextChunk, before: Session, outcome: Outcome) -> MonitorEvent:
        event, evidence = outcome.event, outcome.evidence
        flags, grad_z, update_z = self._flags(event, len(part.ids))
        gate_reasons, rollback_reasons = _reasons(event)
        entropy, diversity = _token_figures(event, part)
        start, self.tokens = self.tokens, self.tokens + len(part.ids)
        self._tally(event, len(outcome.evidence.chunk.targets_BT[0]), bool(flags))
        canaries = event.canaries
        extra: dict[str, Any] = {
            "token_start": start,
            "token_end": self.tokens,
            "reasons": [*event.reasons, *flags],
            "flagged": bool(flags),
            "grad_z": grad_z,
            "update_z": update_z,
            "gate_allowed": not gate_reasons,
            "gate_reasons": gate_reasons,
            "update_skipped": event.decision == "blocked" or not self.options.updates,
            "rollback_triggered": event.decision == "rolled_back",
            "rollback_reasons": rollback_reasons if event.decision == "rolled_back" else [],
            "canary_loss_before": _mean([c.before for c in canaries]),
            "canary_loss_after": _mean([c.after for c in canaries]),
            "token_entropy": entropy,
            "token_diversity": diversity,
            "compression_ratio": _compression_ratio(part.text),
            "top_influence_tokens": self._influence(part, before, evidence.chunk) if self.options.influence else [],
            "backbone": self._backbone,
            "objective": self.options.objective,
        }
        return MonitorEvent.model_construct(**{**event.__dict__, **extra})  # every value is ours and checked already

    @property
    def _backbone(self) -> str:
        config = getattr(self.parts.model.lm, "config", None)
        if config is None:
            return self.options.backbone
        if config.kind == "e2e":
            return "e2e"
        if config.kind != "ttt_lm":
            return config.backbone
        return f"ttt_{config.mixer.inner}" if getattr(config, "attention", None) is None else "attention"

    def _flags(self, event: Event, tokens: int) -> tuple[list[str], float | None, float | None]:
        limits = self.options.flags
        grad, update = event.grad_norm, event.attempted_update_norm
        grad_z, update_z = _z(grad, tokens, self._grad_norms), _z(update, tokens, self._update_norms)
        flags = []
        grad_limit = limits.abs_grad_norm or _heavy(self.options.policy, tokens)
        if grad is not None and grad_limit is not None and grad >= grad_limit:
            flags.append(f"flag: gradient norm {grad:.3g} (limit {grad_limit:.3g})")
        if update is not None and limits.abs_update_norm is not None and update >= limits.abs_update_norm:
            flags.append(f"flag: attempted update {update:.3g} (limit {limits.abs_update_norm:g})")
        if grad_z is not None and grad_z >= limits.robust_z:
            flags.append(f"flag: gradient norm is {grad_z:.1f} robust deviations above its median")
        if update_z is not None and update_z >= limits.robust_z:
            flags.append(f"flag: attempted update is {update_z:.1f} robust deviations above its median")
        return flags, grad_z, update_z

    def _tally(self, event: Event, tokens: int, flagged: bool) -> None:
        self.chunks += 1
        self.counts[event.decision] += 1
        self.flagged += flagged
        self.drift = event.drift
        if event.loss is not None:
            self._nats += event.loss * tokens
            self._counted += tokens

    def _influence(self, part: TextChunk, before: Session, chunk: Chunk) -> list[tuple[str, float]]:
        from fastweights.models.influence import influence_BT

        values_T = influence_BT(self.parts.model, before.fast.weights, chunk, before.fast.carry)[0]
        top = values_T.topk(min(_TOP_TOKENS, len(values_T)))
        shift = 0 if self.options.objective == "mlm" else 1  # position t holds the token before target t
        found = []
        for value, at in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            text = self.parts.decode(part, at - shift) if at >= shift else "(before the chunk)"
            found.append((text, value))
        return [(text, value) for text, value in found if value == value and value not in (float("inf"),)]


def _heavy(policy: Policy, tokens: int) -> float | None:
    """The gradient norm that is flagged where no limit was given: None if the policy was calibrated on no model."""
    table = None if policy.gate is None else policy.gate.ood.grad_norm
    if table is None:
        return None
    short = max(1.0, table.points[0].size / max(1, tokens))  # a mean over fewer tokens: longer by the root
    return _HEAVY * table.typical(tokens) * math.sqrt(short)


def _reasons(event: Event) -> tuple[list[str], list[str]]:
    """(those of the gate: before a candidate was made, those of the candidate)."""
    gate: list[str] = []
    candidate: list[str] = []
    for check in event.checks:
        if check.mode == "enforce" and not check.ok:
            (candidate if check.stage == "candidate" else gate).extend(check.reasons or [f"{check.check} failed"])
    return gate, candidate


def _token_figures(event: Event, part: TextChunk) -> tuple[float | None, float | None]:
    """Entropy (bits) and diversity of the chunk's tokens; from the gate's checks where they ran."""
    found = {name: value for check in event.checks if check.stage == "input" for name, value in check.numbers.items()}
    if "entropy" not in found or "diversity" not in found:
        from fastweights.guard.signals import token_statistics

        entropy, diversity = token_statistics(part.ids, part.text)
        return entropy and entropy.value, diversity and diversity.value
    return found["entropy"], found["diversity"]


def _compression_ratio(text: str) -> float | None:
    data = text.encode("utf-8", "replace")
    return len(zlib.compress(data, 9)) / len(data) if data else None


def _z(norm: float | None, tokens: int, history: deque[float]) -> float | None:
    """Robust z against the history, to which the value then belongs.

    A mean over T tokens has a norm that falls as ``1 / sqrt(T)``: what is compared is free of that.
    """
    from fastweights.core.numerics import robust_z

    if norm is None:
        return None
    value = norm * math.sqrt(tokens)
    floor = max(_SPREAD_SHARE * abs(median(history)), 1e-9) if history else 1.0
    z = robust_z(value, history, spread_floor=floor, min_history=_MIN_HISTORY)
    history.append(value)
    return z


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
