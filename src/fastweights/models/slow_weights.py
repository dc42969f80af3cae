"""The slow weights of a language model as fast weights: what sleep trains, a proposal for the guard every few steps.

Legend: B sets of weights, N rows of text, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from fastweights.core.learner import GradientLearner, InnerOutput, Proposal
from fastweights.core.losses import cross_entropy_B
from fastweights.core.state import Chunk, FastState, Weights, subtract
from fastweights.models.registry import LanguageModel
from fastweights.models.ttt_lm import TTTLM

LESSON, STEPS = "lesson", "steps"
SHORT = 0.3
"""The weight of :func:`shortfall_N` beside the divergence."""


def still(lm: LanguageModel) -> dict[str, Any]:
    """Arguments of ``lm`` for a reading in which it learns nothing: of a TTT model; others do not as modules."""
    return {"learn": False} if isinstance(lm, TTTLM) else {}


class Lesson(NamedTuple):
    """Rows of text, each read from a fresh carry. ``taught_NTV``: log-probabilities to come near to, of the first rows,
    in which nothing is learned while they are read; the others (None: all) are taught by the text itself. ``known_NT``
    (of as many rows): what the targets' own log-probability should reach; -inf where that does not matter."""

    tokens_NT: Tensor
    targets_NT: Tensor
    mask_NT: Tensor
    taught_NTV: Tensor | None = None
    known_NT: Tensor | None = None

    def chunk(self) -> Chunk:
        """The lesson as a chunk of one sequence, for a guard that reads one."""
        tokens_BT, targets_BT, mask_BT = (x.reshape(1, -1) for x in (self.tokens_NT, self.targets_NT, self.mask_NT))
        return Chunk(tokens_BT, targets_BT, mask_BT, inputs={LESSON: self})


@dataclass(frozen=True, eq=False)
class SlowWeights:
    """A :class:`~fastweights.core.learner.FastModel` whose fast weights are the parameters ``names`` of ``student``.

    A chunk without a lesson is plain text (canaries): its loss is the cross entropy of each sequence under its own
    weights.
    """

    student: LanguageModel
    names: tuple[str, ...]

    def init_weights(self, batch: int) -> Weights:
        own = dict(self.student.named_parameters())
        return {name: own[name].detach().expand(batch, *own[name].shape) for name in self.names}

    def init_carry(self, batch: int) -> dict[str, Tensor]:
        return {}

    def encode(self, chunk: Chunk, carry: Any) -> Any:
        """Nothing: a slow weight may touch all of it."""

    def forward(self, weights: Weights, features: Any, chunk: Chunk, carry: Any) -> InnerOutput:
        """The lesson's mean loss a token (taught: KL from the teacher, and what is short of ``known_NT``; else cross
        entropy), or each sequence's own."""
        lesson = chunk.inputs.get(LESSON)
        if lesson is None:
            losses = [
                cross_entropy_B(
                    self.logits({name: w[b] for name, w in weights.items()}, chunk.tokens_BT[b : b + 1]),
                    chunk.targets_BT[b : b + 1],
                    chunk.mask_BT[b : b + 1],
                )
                for b in range(len(chunk.tokens_BT))
            ]
            return InnerOutput(torch.cat(losses), carry)
        own = {name: w[0] for name, w in weights.items()}
        taught = 0 if lesson.taught_NTV is None else len(lesson.taught_NTV)
        if taught and still(self.student):
            told_NTV = self.logits(own, lesson.tokens_NT[:taught], learn=False)
            text_NTV = self.logits(own, lesson.tokens_NT[taught:])
        else:
            told_NTV, text_NTV = self.logits(own, lesson.tokens_NT).tensor_split([taught])
        loss_N = cross_entropy_B(text_NTV, lesson.targets_NT[taught:], lesson.mask_NT[taught:])
        if lesson.taught_NTV is not None:
            mask_NT = lesson.mask_NT[:taught]
            told_N = divergence_N(told_NTV, lesson.taught_NTV, mask_NT)
            if lesson.known_NT is not None:
                told_N = told_N + SHORT * shortfall_N(told_NTV, lesson.targets_NT[:taught], lesson.known_NT, mask_NT)
            loss_N = torch.cat([told_N, loss_N])
        count_N = lesson.mask_NT.sum(1)
        return InnerOutput(((loss_N * count_N).sum() / count_N.sum())[None], carry)

    def logits(self, weights: Mapping[str, Tensor], tokens_NT: Tensor, *, learn: bool = True) -> Tensor:
        """Of the student with other parameters, each row from a fresh carry; without ``learn`` as in :func:`still`."""
        how = {} if learn else still(self.student)
        return functional_call(self.student, dict(weights), (tokens_NT,), how)[0]


def divergence_N(logits_NTV: Tensor, taught_NTV: Tensor, mask_NT: Tensor) -> Tensor:
    """Mean KL(teacher || student) of each row over its masked-in positions, nats per token."""
    learned_NTV = logits_NTV.log_softmax(-1)
    kl_NT = (taught_NTV.exp() * (taught_NTV - learned_NTV)).sum(-1)
    return (kl_NT * mask_NT).sum(1) / mask_NT.sum(1).clamp(min=1)


def shortfall_N(logits_NTV: Tensor, targets_NT: Tensor, known_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Mean Huber loss of each row's nats that its targets' log-probabilities lack to ``known_NT``; 0 where they do not.

    KL(teacher || student) alone hardly sees a token that both find unlikely, though the teacher knows it better.
    """
    held_NT = logits_NTV.log_softmax(-1).gather(-1, targets_NT[..., None])[..., 0]
    short_NT = (known_NT - held_NT).clamp(min=0)
    huber_NT = torch.where(short_NT < 1, short_NT.square() / 2, short_NT - 0.5)
    return (huber_NT * mask_NT).sum(1) / mask_NT.sum(1).clamp(min=1)


@dataclass(frozen=True)
class ManySteps:
    """A learner whose proposal is many steps of another one: of a chunk the lessons in ``inputs["steps"]`` in turn."""

    learner: GradientLearner

    def init(self, batch: int = 1) -> FastState:
        return self.learner.init(batch)

    def prepare(self, chunk: Chunk, carry: Any) -> Chunk:
        if STEPS not in chunk.inputs:
            return self.learner.prepare(chunk, carry)
        steps = tuple(self.learner.prepare(one, carry) for one in chunk.inputs[STEPS])
        return chunk._replace(inputs={STEPS: steps})

    def propose(self, state: FastState, chunk: Chunk, *, create_graph: bool = False) -> Proposal:
        if create_graph:
            raise ValueError("several steps of sleep are no inner loop: leave create_graph out")
        chunk = self.prepare(chunk, state.carry)
        if STEPS not in chunk.inputs:
            return self.learner.propose(state, chunk)
        at, first = state, None
        for step in chunk.inputs[STEPS]:
            proposal = self.learner.propose(at, step)
            first, at = first or proposal, proposal.after
        assert first is not None
        delta = subtract(at.weights, state.weights)
        return Proposal(state, delta, at, replace(state), first.output, first.grads)

    def score(self, state: FastState, chunk: Chunk) -> Tensor:
        if STEPS not in chunk.inputs:
            return self.learner.score(state, chunk)
        return self.learner.score(state, chunk.inputs[STEPS][0])

    def score_and_grad(self, state: FastState, chunk: Chunk) -> tuple[Tensor, Weights]:
        return self.learner.score_and_grad(state, chunk)


def steps_chunk(lessons: Sequence[Lesson]) -> Chunk:
    """Lessons that are one proposal together."""
    chunks = tuple(lesson.chunk() for lesson in lessons)
    tokens_BT, targets_BT, mask_BT = (torch.cat(parts, 1) for parts in zip(*(c[:3] for c in chunks), strict=True))
    return Chunk(tokens_BT, targets_BT, mask_BT, inputs={STEPS: chunks})
