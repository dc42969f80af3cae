"""The two ways of sleeping: replay of traces, and selective distillation of what fast weights know.

Legend: T positions, V vocabulary, K rows of an n-gram table.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import Adagrad, Muon
from fastweights.core.spec import select
from fastweights.core.state import Weights
from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, canary_rows
from fastweights.data.tokenizer import Tokenizer
from fastweights.guard.canaries import Canaries, token_rows
from fastweights.guard.event import Event
from fastweights.guard.evidence import Check, Evidence, Stage, Verdict
from fastweights.guard.guard import Guard
from fastweights.guard.mode import Mode
from fastweights.guard.policy import Policy
from fastweights.models.row_change import CHANGE, PROJECT, RowChange, merged, ngram_of, with_change
from fastweights.models.slow_weights import ManySteps, SlowWeights, divergence_N
from fastweights.models.tiny_lm import TinyLM
from fastweights.train.sleep import Lessons, Trace, train
from fastweights.train.sleep_rows import Chosen, choose_rows, new_table

SLOW = ("backbone.*", "norm.*")
"""What replay trains; embedding and head stay."""
_WIDTH = 32  # of a new table's rows
_BOUND_ROWS, _BOUND_TOKENS = 16, 256  # of the core text that bounds what is learned
_CORE_CANARIES, _CANARY_TOKENS = 4, 32
Read = Callable[[Tensor], Tensor]
"""From tokens ``[N, T]`` to logits ``[N, T, V]``."""
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

    lm: TinyLM
    steps: int
    events: list[tuple[int, Event]]
    parts: list[Part]
    notes: list[str] = field(default_factory=list)


class CoreText:
    """Core text that bounds what is learned: it is neither trained on nor what forgetting is measured on."""

    def __init__(self, core_T: np.ndarray) -> None:
        rows = min(_BOUND_ROWS, max(1, len(core_T) // 8))
        length = min(_BOUND_TOKENS, len(core_T) // rows - 1)
        ids_NS = torch.from_numpy(core_T[: rows * (length + 1)].astype(np.int64)).view(rows, length + 1)
        self.tokens_NT, self.targets_NT = ids_NS[:, :-1], ids_NS[:, 1:]

    @staticmethod
    def tokens(train_T: np.ndarray) -> int:
        """How many of the train part it takes, from the end."""
        return min(_BOUND_ROWS * (_BOUND_TOKENS + 1), len(train_T) // 8)

    def loss(self, read: Read) -> float:
        """Nats per token."""
        with torch.no_grad():
            logits_NTV = read(self.tokens_NT)
            return float(torch.nn.functional.cross_entropy(logits_NTV.flatten(0, 1), self.targets_NT.flatten()))


@dataclass(frozen=True, eq=False)
class CoreBound:
    """Refuses slow weights under which core text costs more than ``limit`` nats a token above what it cost before."""

    loss: Callable[[Weights], float]
    before: float
    limit: float
    name: str = "core_bound"
    stage: Stage = "candidate"
    mode: Mode = "enforce"

    def __call__(self, evidence: Evidence) -> Verdict:
        assert evidence.proposal is not None
        rise = self.loss(evidence.proposal.after.weights) - self.before
        ok = rise <= self.limit  # not finite: refused
        reason = f"core text would cost {rise:.4f} nats per token more (limit {self.limit:.4f})"
        return Verdict(ok, () if ok else (reason,), {"rise": rise, "limit": self.limit})


def replay(
    lm: TinyLM,
    tokenizer: Tokenizer,
    lessons: Lessons,
    lr: float,
    steps: int,
    *,
    until: Callable[[], bool],
    on_write: OnWrite,
) -> Learned:
    """Next-token training of :data:`SLOW` by Muon at a very low rate on traces and core text."""
    student = copy.deepcopy(lm).requires_grad_(False)
    names = tuple(select([name for name, _ in student.named_parameters()], SLOW))
    learner = ManySteps(GradientLearner(SlowWeights(student, names), Muon(lr)))
    slept = train(lambda _: learner, _guard(learner, tokenizer, ()), lessons, steps, until=until, on_write=on_write)
    parts = _put(student, slept.session.fast.weights)
    return Learned(student, slept.steps, slept.events, parts)


def delta(
    lm: TinyLM,
    tokenizer: Tokenizer,
    traces: Sequence[Trace],
    teachers: Sequence[Tensor],
    core_T: np.ndarray,
    *,
    lr: float,
    steps: int,
    seq_len: int,
    core_ratio: float,
    max_core_rise: float,
    seed: int,
    until: Callable[[], bool],
    on_write: OnWrite,
) -> Learned:
    """Distils the teachers (of each trace log-probabilities ``[T, V]``) into few rows of the n-gram table.

    A teacher counts where it knows the next token better than the base does; elsewhere the base itself is the teacher,
    and core text its own.
    ``max_core_rise``: bits per byte that core text may lose.
    """
    size = CoreText.tokens(core_T)
    core_T, bound = core_T[: len(core_T) - size], CoreText(core_T[len(core_T) - size :])
    bytes_per_token = len(tokenizer.decode_bytes(core_T[:4096].tolist())) / max(1, len(core_T[:4096]))
    lessons_of, gains = _selective(lm, traces, teachers)
    orders, rows = new_table(bytes_per_token, sum(int((gain_T > 0).sum()) for gain_T in gains))
    grown, blank = ngram_of(lm, orders, rows, _WIDTH, seed)
    assert grown.embedding.ngram is not None
    chosen = choose_rows(grown.embedding.ngram, traces, gains, core_T, max_core_rise)
    if not bool((chosen.gain_K > 0).any()):
        note = "the fast weights know nothing that is worth a change: the candidate predicts as its base does"
        return Learned(lm, 0, [], [], [note])
    student = with_change(grown, chosen.rows_K, blank=blank)
    names = (CHANGE, PROJECT) if blank else (CHANGE,)
    lessons = Lessons(lessons_of, core_T, seq_len=seq_len, core_ratio=core_ratio, seed=seed)
    model, before = SlowWeights(student, names), bound.loss(lambda x_NT: lm(x_NT)[0])
    limit = max_core_rise * math.log(2) * bytes_per_token

    def core_loss(weights: Weights) -> float:
        return bound.loss(lambda x_NT: model.logits({name: w[0] for name, w in weights.items()}, x_NT))

    check = CoreBound(core_loss, before, limit)

    def at(done: float) -> ManySteps:
        rates = {CHANGE: torch.tensor(lr * (1 - done)), PROJECT: torch.tensor(0.1 * lr * (1 - done))}
        return ManySteps(GradientLearner(model, Adagrad(rates)))

    guard = _guard(at(0.0), tokenizer, (check,), bound)
    slept = train(at, guard, lessons, steps, until=until, on_write=on_write)
    found = _put(student, slept.session.fast.weights)
    parts = [*_keep(student, lessons_of, bound, chosen), *found[1:]]
    traced_K = chosen.group_K < len(grown.embedding.ngram.orders)
    note = (
        f"{int(traced_K.sum())} of {chosen.wanted} rows that sessions gain by may change; core text reads one at "
        f"{float(chosen.reads_K[traced_K].sum()) / chosen.core_places:.2%} of its places"
    )
    return Learned(merged(student, grown), slept.steps, slept.events, parts, [note])


def _selective(lm: TinyLM, traces: Sequence[Trace], teachers: Sequence[Tensor]) -> tuple[list[Trace], list[Tensor]]:
    """The traces with their teachers, where those know better; and by how many nats ``[T]`` they do."""
    found, gains = [], []
    with torch.inference_mode():
        for trace, teacher_TV in zip(traces, teachers, strict=True):
            base_TV = lm(trace.tokens_T[None])[0][0].log_softmax(-1)
            known_T, held_T = (t.float().gather(1, trace.ids_T[:, None])[:, 0] for t in (teacher_TV, base_TV))
            better_T1 = (known_T > held_T)[:, None]
            found.append(replace(trace, taught_TV=torch.where(better_T1, teacher_TV, base_TV.half())))
            gains.append((known_T - held_T).clamp(min=0))
    return found, gains


def _guard(learner: ManySteps, tokenizer: Tokenizer, checks: Sequence[Check], core: CoreText | None = None) -> Guard:
    """The plain policy over the canaries that ship, and a few pieces of core text."""
    names, rows = [*CANARY_TEXTS], canary_rows(tokenizer.encode, CANARY_TEXTS.values(), CANARY_TOKENS)
    if core is not None:
        pieces = core.targets_NT[:_CORE_CANARIES, :_CANARY_TOKENS].tolist()
        names += [f"core-{i + 1}" for i in range(len(pieces))]
        rows += pieces
    canaries = Canaries.prepare(learner, names, token_rows(rows, tokenizer.bos_id))
    return Guard(Policy(name="sleep"), canaries, checks, score_after=False)


def _put(student: TinyLM, weights: Weights) -> list[Part]:
    """Writes what was learned into the student; a part for each tensor, with the length of its change."""
    own = dict(student.named_parameters())
    parts = []
    with torch.no_grad():
        for name, w in weights.items():
            parts.append(Part(name, own[name].numel(), None, float((w[0] - own[name]).norm()), 1.0))
            own[name].copy_(w[0])
    return parts


def _keep(student: TinyLM, traces: Sequence[Trace], bound: CoreText, chosen: Chosen) -> list[Part]:
    """Takes back groups of rows by which the traces gain no more than core text loses; a part for each group."""
    table = student.embedding.ngram
    assert isinstance(table, RowChange)

    def losses() -> tuple[float, float]:
        return _trace_loss(student, traces), bound.loss(lambda x_NT: student(x_NT)[0])

    traced, core = losses()
    parts = []
    names = [*(f"of order {order}" for order in table.orders), "of core text"]
    for at, name in enumerate(names):
        own_K = chosen.group_K == at
        if not (count := int(own_K.sum())):
            continue
        with torch.no_grad():
            kept = table.change[own_K].clone()
            table.change[own_K] = 0
            without = losses()
            gain, cost = without[0] - traced, core - without[1]
            if take := gain > cost:
                table.change[own_K] = kept
            else:
                traced, core = without
        parts.append(
            Part(
                f"embedding.ngram.weight, {count} rows {name}",
                kept.numel(),
                float(chosen.reads_K[own_K].sum()) / chosen.core_places,
                float(kept.norm()),
                float(take),
                gain,
                cost,
            )
        )
    return parts


def _trace_loss(lm: TinyLM, traces: Sequence[Trace]) -> float:
    """Mean KL from the teachers, nats per token, each trace read whole."""
    total, count = 0.0, 0
    with torch.no_grad():
        for trace in traces:
            assert trace.taught_TV is not None
            mask_1T = torch.ones(1, len(trace.ids_T), dtype=torch.bool)
            logits_1TV = lm(trace.tokens_T[None])[0]
            total += float(divergence_N(logits_1TV, trace.taught_TV[None].float(), mask_1T)) * len(trace.ids_T)
            count += len(trace.ids_T)
    return total / max(1, count)
