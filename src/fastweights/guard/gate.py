"""The gate: checks of the text before anything is computed from it, and of loss and gradient before a write.

The rules live in :mod:`~fastweights.guard.judge` (torch-free); here they become checks of a
:class:`~fastweights.guard.guard.Guard`: ``Guard(policy, canaries, checks=gate_checks(gate_policy))``.
"""

from dataclasses import dataclass, field

from fastweights.core.state import Chunk
from fastweights.guard.evidence import Evidence, Stage, Verdict
from fastweights.guard.gate_policy import GatePolicy
from fastweights.guard.judge import INPUT_RULES, Finding, ood_finding, rule_finding
from fastweights.guard.mode import Mode
from fastweights.guard.signals import Signals, measure


@dataclass
class _Measured:
    """The signals of the chunk judged last, so that the input rules of one chunk measure it once."""

    key: tuple[int, str] | None = None
    chunk: Chunk | None = None
    signals: Signals | None = None

    def of(self, chunk: Chunk, tail: str) -> Signals:
        key = (id(chunk.targets_BT), tail)
        if self.signals is None or self.key != key or self.chunk is None or self.chunk.text != chunk.text:
            self.signals = measure(chunk.text or "", tail, chunk.targets_BT[0].tolist())
            self.key, self.chunk = key, chunk  # holding the chunk keeps its id from being used again
        return self.signals


@dataclass(frozen=True)
class InputCheck:
    """One input rule of a text chunk (``entropy``, ``diversity``, ``repetition``, ``blob`` or ``override``).

    A chunk without text (an observation) passes. The look-back is ``evidence.guard.tail``.
    """

    name: str
    policy: GatePolicy
    measured: _Measured = field(default_factory=_Measured, compare=False, repr=False)
    stage: Stage = "input"

    @property
    def mode(self) -> Mode:
        return getattr(self.policy, self.name).mode

    def __call__(self, evidence: Evidence) -> Verdict:
        chunk = evidence.chunk
        if chunk.text is None:
            return Verdict(True)
        tail: str = getattr(evidence.guard, "tail", "")
        signals = self.measured.of(chunk, tail)
        return _verdict(rule_finding(self.name, signals, chunk.text, tail, self.policy))


@dataclass(frozen=True)
class OutOfDistribution:
    """Refuses a write whose loss and gradient norm are both above what benign chunks of that length ever had."""

    policy: GatePolicy
    name: str = "ood"
    stage: Stage = "proposal"

    @property
    def mode(self) -> Mode:
        return self.policy.ood.mode

    def __call__(self, evidence: Evidence) -> Verdict:
        tokens = int(evidence.chunk.mask_BT.sum())
        return _verdict(ood_finding(evidence.loss, evidence.grad_norm, tokens, self.policy))


def gate_checks(policy: GatePolicy) -> tuple[InputCheck | OutOfDistribution, ...]:
    """All checks of a gate, in order; they share one measurement a chunk."""
    measured = _Measured()
    return (*(InputCheck(name, policy, measured) for name in INPUT_RULES), OutOfDistribution(policy))


def _verdict(finding: Finding) -> Verdict:
    return Verdict(finding.ok, finding.reasons, finding.numbers)
