"""What both ways of sleeping share: the bound that core text sets, the guard, what comes of it; and replay of traces.

Legend: N rows, T positions, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import Muon
from fastweights.core.state import Weights
from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, canary_rows
from fastweights.data.tokenizer import Tokenizer
from fastweights.guard.canaries import Canaries, token_rows
from fastweights.guard.event import Event
from fastweights.guard.evidence import Check, Evidence, Stage, Verdict
from fastweights.guard.guard import Guard
from fastweights.guard.mode import Mode
from fastweights.guard.policy import Policy
from fastweights.models.e2e import E2ETransformer
from fastweights.models.registry import LanguageModel
from fastweights.models.slow_weights import ManySteps, SlowWeights
from fastweights.train.meta import Adapting
from fastweights.train.sleep import Lessons, train

STAY = ("embedding", "head", "inner_log_rates")
"""What replay does not train; all else is backbone and norm, whatever the kind of model calls them."""
_BOUND_ROWS, _BOUND_TOKENS = 16, 256  # of the core text that bounds what is learned
_CHUNKS = 4  # of TTT-E2E's writes that a row of it is long, where there is as much
_CORE_CANARIES, _CANARY_TOKENS = 4, 32
OnWrite = Callable[[int, Event], None]


@dataclass(frozen=True)
class Part:
    """A tensor, or rows of one, and how much of what was learned was kept; the fields are those of ``SleepPart``."""

    name: str
    params: int
    importance: float | None
    change: float
    scale: float
    gain: float | None = None
    cost: float | None = None


@dataclass(eq=False)
class Learned:
    """The candidate's model, and how it came about."""

    lm: LanguageModel
    steps: int
    events: list[tuple[int, Event]]
    parts: list[Part]
    notes: list[str] = field(default_factory=list)


class CoreText:
    """Core text that bounds what is learned: it is neither trained on nor what forgetting is measured on.

    ``longest``: tokens that the model may read on end.
    """

    def __init__(self, core_T: np.ndarray, longest: int | None = None) -> None:
        rows = min(_BOUND_ROWS, max(1, len(core_T) // 8))
        length = min(longest or _BOUND_TOKENS, _BOUND_TOKENS, len(core_T) // rows - 1)
        ids_NS = torch.from_numpy(core_T[: rows * (length + 1)].astype(np.int64)).view(rows, length + 1)
        self.tokens_NT, self.targets_NT = ids_NS[:, :-1], ids_NS[:, 1:]

    @staticmethod
    def tokens(train_T: np.ndarray) -> int:
        """How many of the train part it takes, from the end."""
        return min(_BOUND_ROWS * (_BOUND_TOKENS + 1), len(train_T) // 8)

    def losses(self, lm: LanguageModel) -> list[float]:
        """Nats per token: as the model reads; of TTT-E2E, which learns nothing as a module, also while it learns."""
        with torch.no_grad():
            found = [self._loss(lm(self.tokens_NT)[0], self.targets_NT)]
            if isinstance(lm, E2ETransformer):
                rows = max(1, min(len(self.tokens_NT), self.tokens_NT.numel() // (_CHUNKS * lm.config.inner.chunk)))
                ids_NT = self.tokens_NT[: len(self.tokens_NT) // rows * rows].reshape(rows, -1)
                found.append(self._loss(Adapting(lm)(ids_NT)[0][:, :-1], ids_NT[:, 1:]))
        return found

    @staticmethod
    def _loss(logits_NTV: Tensor, targets_NT: Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(logits_NTV.flatten(0, 1), targets_NT.flatten()))


@dataclass(frozen=True, eq=False)
class CoreBound:
    """Refuses slow weights under which core text costs more than ``limit`` nats a token above what it cost before.

    ``rise``: how much more it costs.
    """

    rise: Callable[[Weights], float]
    limit: float
    name: str = "core_bound"
    stage: Stage = "candidate"
    mode: Mode = "enforce"

    def __call__(self, evidence: Evidence) -> Verdict:
        assert evidence.proposal is not None
        rise = self.rise(evidence.proposal.after.weights)
        ok = rise <= self.limit  # not finite: refused
        reason = f"core text would cost {rise:.4f} nats per token more (limit {self.limit:.4f})"
        return Verdict(ok, () if ok else (reason,), {"rise": rise, "limit": self.limit})


def replay(
    lm: LanguageModel,
    tokenizer: Tokenizer,
    lessons: Lessons,
    lr: float,
    steps: int,
    *,
    until: Callable[[], bool],
    on_write: OnWrite,
) -> Learned:
    """Next-token training of backbone and norm by Muon at a very low rate on traces and core text."""
    student = copy.deepcopy(lm).requires_grad_(False)
    learner = ManySteps(GradientLearner(SlowWeights(student, tuple(slow_names(student))), Muon(lr)))
    slept = train(lambda _: learner, guard_of(learner, tokenizer, ()), lessons, steps, until=until, on_write=on_write)
    parts = put(student, slept.session.fast.weights)
    return Learned(student, slept.steps, slept.events, parts)


def slow_names(lm: LanguageModel) -> list[str]:
    """The parameters of backbone and norm."""
    return [name for name, _ in lm.named_parameters() if name.split(".")[0] not in STAY]


def with_weights(lm: LanguageModel, weights: Weights) -> LanguageModel:
    """A copy with these parameters (B = 1) that shares all others."""
    new = {id(lm.get_parameter(name)): nn.Parameter(w[0], requires_grad=False) for name, w in weights.items()}
    return copy.deepcopy(lm, {**{id(p): p for p in lm.parameters()}, **new})


def guard_of(learner: ManySteps, tokenizer: Tokenizer, checks: Sequence[Check], core: CoreText | None = None) -> Guard:
    """The plain policy over the canaries that ship, and a few pieces of core text."""
    names, rows = [*CANARY_TEXTS], canary_rows(tokenizer.encode, CANARY_TEXTS.values(), CANARY_TOKENS)
    if core is not None:
        pieces = core.targets_NT[:_CORE_CANARIES, :_CANARY_TOKENS].tolist()
        names += [f"core-{i + 1}" for i in range(len(pieces))]
        rows += pieces
    canaries = Canaries.prepare(learner, names, token_rows(rows, tokenizer.bos_id))
    return Guard(Policy(name="sleep"), canaries, checks, score_after=False)


def put(student: LanguageModel, weights: Weights) -> list[Part]:
    """Writes what was learned into the student; a part for each tensor, with the length of its change."""
    own = dict(student.named_parameters())
    parts = []
    with torch.no_grad():
        for name, w in weights.items():
            parts.append(Part(name, own[name].numel(), None, float((w[0] - own[name]).norm()), 1.0))
            own[name].copy_(w[0])
    return parts
