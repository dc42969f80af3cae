"""The transaction: the one door through which a fast weight changes outside of training.

input checks -> proposal -> proposal checks -> projection -> candidate checks -> commit, or go on with what was.
A refusal sets the decision; it never skips a measurement.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from fastweights.core.learner import Learner, Proposal
from fastweights.core.numerics import finite_or_none
from fastweights.core.state import Chunk, FastState, Weights, dot_B, is_finite, map_rows, norm_B, subtract
from fastweights.guard.canaries import Canaries, Measured, largest_rise
from fastweights.guard.checks import CanaryAudit, Cusum, DriftBudget, Finite, cusums_after
from fastweights.guard.event import CanaryFigures, CheckResult, Decision, Event
from fastweights.guard.evidence import Check, Evidence, Stage, Verdict
from fastweights.guard.policy import Policy
from fastweights.guard.spfw import SPFW
from fastweights.guard.state import GuardState, Session

_PREVIEW_CHARACTERS = 80
_TAIL_CHARACTERS = 512


class Outcome(NamedTuple):
    """What one chunk did: the session after it, its record, whether the write was made, and all that was looked at."""

    session: Session
    event: Event
    committed: bool
    evidence: Evidence


class Guard:
    """Judges every write of one session (B = 1) under a policy.

    ``canaries`` may be None where a learner has none (then audit, drift and SPFW have nothing to say); ``checks`` adds
    checks of the learner's own kind, e.g. a text gate or a bound on a physical state. ``score_after`` off leaves out
    each event's ``loss_after``, a forward pass over the chunk. ``unit`` is that of the losses, for sentences.
    """

    def __init__(
        self,
        policy: Policy,
        canaries: Canaries | None = None,
        checks: Sequence[Check] = (),
        *,
        score_after: bool = True,
        unit: str = "nats",
    ) -> None:
        self.policy = policy
        self.canaries = canaries
        self.score_after = score_after
        self.checks: tuple[Check, ...] = (
            *checks,
            Finite("proposal"),
            Finite("candidate"),
            CanaryAudit(policy.audit, unit),
            Cusum(policy.cusum, unit),
            DriftBudget(policy.drift, unit),
        )
        self.projector = SPFW(policy.spfw)
        self._seen: tuple[tuple[Weights, Measured], ...] = ()

    def begin(self, learner: Learner, fast: FastState) -> Session:
        """A root session: the canary losses of ``fast`` become the origin that drift is measured from."""
        losses = self._losses(learner, fast.weights)
        return Session(fast, GuardState(origin=losses, current=losses))

    def step(self, learner: Learner, session: Session, chunk: Chunk) -> Outcome:
        """Read one chunk (B = 1): measure, judge, and commit or refuse its write. Exactly one event a call."""
        if chunk.targets_BT.shape[0] != 1:
            raise ValueError(f"Guard.step reads one sequence, the chunk has {chunk.targets_BT.shape[0]}")
        before = self._before(learner, session)
        chunk = learner.prepare(chunk, session.fast.carry)
        verdicts: list[tuple[Check, Verdict]] = []
        evidence = Evidence(chunk, session.guard)
        self._judge("input", evidence, verdicts)

        proposal = learner.propose(session.fast, chunk)
        canaries = self._measure(learner, session.fast.weights)
        evidence = replace(
            evidence,
            proposal=proposal,
            loss=float(proposal.output.loss_B),
            grad_norm=None if proposal.grads is None else float(norm_B(proposal.grads)),
            attempted_norm=float(norm_B(proposal.delta)),
            before=before,
            canary_grads=None if canaries is None else canaries.grads,
        )
        self._judge("proposal", evidence, verdicts)
        blocked = _refusals(verdicts)

        proposal, projected_fraction = self._project(learner, proposal, evidence)
        after = self._losses(learner, proposal.after.weights)
        evidence = replace(evidence, proposal=proposal, after=after)
        self._judge("candidate", evidence, verdicts)
        refusals = _refusals(verdicts)

        decision: Decision = "blocked" if blocked else "rolled_back" if refusals else "committed"
        fast = proposal.after if decision == "committed" else _refused(proposal)
        if decision != "committed":  # what a refused write told of the chunk while it was read does not count
            evidence = replace(evidence, loss=float(learner.score(session.fast, chunk)))
        guard = self._advance(session.guard, chunk, before, after, decision)
        event = self._event(session, evidence, verdicts, decision, refusals, guard).model_copy(
            update={
                "loss_after": self._loss_after(learner, session, fast, chunk),
                "update_norm": float(norm_B(proposal.delta)) if decision == "committed" else 0.0,
                "projected_fraction": projected_fraction,
                "step": fast.step,
            }
        )
        return Outcome(Session(fast, guard), event, decision == "committed", evidence)

    # ------------------------------------------------------------------ measurements

    def _measure(self, learner: Learner, weights: Weights) -> Measured | None:
        """Canary losses and gradients under these weights; the last two sets are remembered.

        Weights are values, so the same object has the same figures: what was measured on a candidate that is
        committed serves as the next chunk's "before".
        """
        if self.canaries is None:
            return None
        others = [entry for entry in self._seen if entry[0] is not weights]
        known = next((measured for seen, measured in self._seen if seen is weights), None)
        measured = self.canaries.measure(learner, weights) if known is None else known
        self._seen = (*others[-1:], (weights, measured))
        return measured

    def _losses(self, learner: Learner, weights: Weights) -> Mapping[str, float]:
        measured = self._measure(learner, weights)
        return {} if measured is None else measured.losses

    def _before(self, learner: Learner, session: Session) -> Mapping[str, float]:
        """The loss after one commit is the loss before the next; measured again only if the canaries have changed."""
        names = () if self.canaries is None else self.canaries.names
        if set(session.guard.current) == set(names):
            return session.guard.current
        return self._losses(learner, session.fast.weights)

    def _project(self, learner: Learner, proposal: Proposal, evidence: Evidence) -> tuple[Proposal, float | None]:
        """SPFW: the projected proposal (where enforced) and the share of the update's norm that it takes away."""
        grads = evidence.canary_grads
        length = evidence.attempted_norm or 0.0
        if grads is None or not math.isfinite(length):
            return proposal, None
        projected = self.projector(proposal, grads)
        if self.projector.mode == "enforce":
            projected = self.projector.shorten(
                projected, lambda weights: largest_rise(self._losses(learner, weights), evidence.before), grads
            )
        if projected is proposal:
            return proposal, 0.0
        fraction = float(norm_B(subtract(proposal.delta, projected.delta))) / length
        return (projected if self.projector.mode == "enforce" else proposal), fraction

    def _loss_after(self, learner: Learner, session: Session, fast: FastState, chunk: Chunk) -> float | None:
        if not self.score_after:
            return None
        return finite_or_none(float(learner.score(replace(fast, carry=session.fast.carry), chunk)))

    def _judge(self, stage: Stage, evidence: Evidence, verdicts: list[tuple[Check, Verdict]]) -> None:
        for check in self.checks:
            if check.stage == stage and check.mode != "off":
                verdicts.append((check, check(evidence)))

    def _advance(
        self,
        guard: GuardState,
        chunk: Chunk,
        before: Mapping[str, float],
        after: Mapping[str, float],
        decision: Decision,
    ) -> GuardState:
        origin = {**before, **guard.origin}
        advanced = replace(
            guard,
            origin={name: origin[name] for name in before},
            current=before,
            chunks=guard.chunks + 1,
            tokens=guard.tokens + int(chunk.mask_BT.sum()),
            tail=(guard.tail + (chunk.text or ""))[-_TAIL_CHARACTERS:],
        )
        if decision != "committed":
            return advanced
        delta = largest_rise(after, before)
        deltas = guard.deltas if delta is None else (*guard.deltas, delta)[-self.policy.audit.window :]
        cusum = cusums_after(guard.cusum, before, after, self.policy.cusum.slack)
        return replace(advanced, current=after, deltas=deltas, cusum=cusum)

    # ------------------------------------------------------------------ the record

    def _event(
        self,
        session: Session,
        evidence: Evidence,
        verdicts: list[tuple[Check, Verdict]],
        decision: Decision,
        refusals: list[str],
        guard: GuardState,
    ) -> Event:
        before, after = evidence.before, evidence.after
        audit = next((v for check, v in verdicts if check.name == CanaryAudit.name), None)
        if audit is None:  # off: no verdict, but its figure is reported all the same
            audit = CanaryAudit(self.policy.audit)(evidence)
        return Event(
            chunk_index=session.guard.chunks,
            token_start=session.guard.tokens,
            token_end=guard.tokens,
            chunk_preview=(evidence.chunk.text or "")[:_PREVIEW_CHARACTERS],
            decision=decision,
            reasons=refusals,
            loss=finite_or_none(evidence.loss),
            loss_after=None,
            grad_norm=finite_or_none(evidence.grad_norm),
            attempted_update_norm=finite_or_none(evidence.attempted_norm),
            update_norm=0.0,
            projected_fraction=None,
            canaries=[
                CanaryFigures(
                    name=name,
                    before=finite_or_none(before[name]),
                    after=finite_or_none(after[name]),
                    delta=finite_or_none(after[name] - before[name]),
                    drift=finite_or_none(after[name] - guard.origin[name]),
                )
                for name in after
            ],
            canary_delta=finite_or_none(largest_rise(after, before)),
            canary_delta_z=finite_or_none(audit.numbers["z"]),
            **_alignment(evidence),
            drift=finite_or_none(largest_rise(guard.current, guard.origin)),
            cusum=max(guard.cusum.values(), default=0.0),
            checks=[
                CheckResult(
                    check=check.name,
                    stage=check.stage,
                    mode="observe" if check.mode == "observe" else "enforce",
                    ok=verdict.ok,
                    reasons=list(verdict.reasons),
                    numbers={k: finite_or_none(v) for k, v in verdict.numbers.items()},
                )
                for check, verdict in verdicts
            ],
            step=session.fast.step,
        )


def _alignment(evidence: Evidence) -> dict[str, float | None]:
    """How the chunk's gradient lies to the mean canary gradient. Positive: descending on the chunk lowers the canaries.

    (An SGD step writes ``-lr * g``; to first order the canaries change by ``-lr * <g, g_canary>``.)
    """
    names = ("canary_grad_norm", "grad_canary_cos", "grad_canary_dot")
    grads = None if evidence.proposal is None else evidence.proposal.grads
    if grads is None or evidence.canary_grads is None:
        return dict.fromkeys(names)
    mean = {name: map_rows(lambda v: v.mean(0, keepdim=True), g) for name, g in evidence.canary_grads.items()}
    dot, norm = float(dot_B(grads, mean)), float(norm_B(mean))
    length = norm * (evidence.grad_norm or 0.0)
    values = (norm, dot / length if length > 0 else 0.0, dot)
    return {name: finite_or_none(value) for name, value in zip(names, values, strict=True)}


def _refusals(verdicts: Sequence[tuple[Check, Verdict]]) -> list[str]:
    return [
        reason
        for check, verdict in verdicts
        if check.mode == "enforce" and not verdict.ok
        for reason in (verdict.reasons or (f"{check.name} failed",))
    ]


def _refused(proposal: Proposal) -> FastState:
    """The state that goes on after a refusal; a carry that is not finite does not get out of the chunk either."""
    with torch.no_grad():
        return proposal.refused if is_finite(proposal.refused.carry) else proposal.before
