"""Selective distillation: what fast weights know goes over into the slow weights that gain most by it.

Where a memory lies beside a TinyLM: rows of its n-gram table. Where a model's own weights are the fast ones (TTT,
TTT-E2E): the same weights as training has left them, from which every session starts.

Legend: N rows, T positions, V vocabulary, K rows of an n-gram table.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import Adagrad
from fastweights.data.tokenizer import Tokenizer
from fastweights.models.own_rule import own_learner
from fastweights.models.registry import LanguageModel
from fastweights.models.row_change import CHANGE, PROJECT, RowChange, merged, ngram_of, with_change
from fastweights.models.slow_weights import ManySteps, SlowWeights, divergence_N, still
from fastweights.models.tiny_lm import TinyLM
from fastweights.train.sleep import Lessons, Slept, Trace, train
from fastweights.train.sleep_learn import (
    CoreBound,
    CoreText,
    Learned,
    OnWrite,
    Part,
    guard_of,
    put,
    slow_names,
    with_weights,
)
from fastweights.train.sleep_rows import GAIN, choose_rows, new_table

_WIDTH = 32  # of a new table's rows
_NOTHING = "the fast weights know nothing that is worth a change: the candidate predicts as its base does"


@dataclass(frozen=True, eq=False)
class Distilling:
    """How: the rate of row-wise Adagrad, which falls to 0; ``max_core_rise``: bits per byte
    that core text may lose; ``longest``: tokens that the model may read on end."""

    lr: float
    steps: int
    longest: int | None
    seq_len: int
    core_ratio: float
    max_core_rise: float
    seed: int
    until: Callable[[], bool]
    on_write: OnWrite


def delta(
    lm: LanguageModel,
    tokenizer: Tokenizer,
    traces: Sequence[Trace],
    teachers: Sequence[Tensor],
    core_T: np.ndarray,
    how: Distilling,
) -> Learned:
    """Distils the teachers (of each trace log-probabilities ``[T, V]``).

    A teacher counts where it knows the next token better than the base does: there its distribution is the target, and
    the token itself is to become as likely as it is to the teacher. Elsewhere the base is the teacher, and core text
    its own.
    """
    task = _Task(lm, tokenizer, traces, teachers, core_T, how)
    return _into_rows(lm, task) if isinstance(lm, TinyLM) else _into_weights(lm, task)


@dataclass(frozen=True, eq=False)
class Group:
    """Weights that are kept or taken back together: ``weight[at]``, which was ``before``. ``importance``: of a part."""

    name: str
    weight: Tensor
    at: Any
    before: Tensor
    importance: float | None


class _Task:
    """Lessons, and the bound that core text sets."""

    def __init__(
        self,
        lm: LanguageModel,
        tokenizer: Tokenizer,
        traces: Sequence[Trace],
        teachers: Sequence[Tensor],
        core_T: np.ndarray,
        how: Distilling,
    ) -> None:
        size = CoreText.tokens(core_T)
        self.core_T, self.bound = core_T[: len(core_T) - size], CoreText(core_T[len(core_T) - size :], how.longest)
        self.bytes_per_token = len(tokenizer.decode_bytes(core_T[:4096].tolist())) / max(1, len(core_T[:4096]))
        self.traces, self.gains = _selective(lm, traces, teachers)
        self.core_before = self.bound.losses(lm)
        self.tokenizer, self.how = tokenizer, how

    def core_rise(self, lm: LanguageModel) -> float:
        """Nats per token."""
        pairs = zip(self.bound.losses(lm), self.core_before, strict=True)
        return max(after - before for after, before in pairs)

    def train(self, student: LanguageModel, rates: Mapping[str, float]) -> tuple[Slept, list[Part]]:
        """Parameters and their rates, by row-wise Adagrad through the guard; the student has learned them then."""
        how, model = self.how, SlowWeights(student, tuple(rates))

        def at(done: float) -> ManySteps:
            falling = {name: torch.tensor(rate * (1 - done)) for name, rate in rates.items()}
            return ManySteps(GradientLearner(model, Adagrad(falling)))

        limit = how.max_core_rise * math.log(2) * self.bytes_per_token
        check = CoreBound(lambda weights: self.core_rise(with_weights(student, weights)), limit)
        guard = guard_of(at(0.0), self.tokenizer, (check,), self.bound)
        lessons = Lessons(self.traces, self.core_T, seq_len=how.seq_len, core_ratio=how.core_ratio, seed=how.seed)
        slept = train(at, guard, lessons, how.steps, until=how.until, on_write=how.on_write)
        return slept, put(student, slept.session.fast.weights)

    def keep(self, student: LanguageModel, groups: Sequence[Group]) -> list[Part]:
        """Takes back groups by which the traces gain no more than core text loses; a part for each group."""

        def losses() -> tuple[float, float]:
            return _trace_loss(student, self.traces), self.core_rise(student)

        traced, core = losses()
        parts = []
        for one in groups:
            with torch.no_grad():
                kept = one.weight[one.at].clone()
                one.weight[one.at] = one.before
                without = losses()
                gain, cost = without[0] - traced, core - without[1]
                if take := gain > cost:
                    one.weight[one.at] = kept
                else:
                    traced, core = without
            change = float((kept - one.before).norm())
            parts.append(Part(one.name, kept.numel(), one.importance, change, float(take), gain, cost))
        return parts


def _into_rows(lm: TinyLM, task: _Task) -> Learned:
    """Few rows of the n-gram table, and the table's projection if it is new."""
    how, worth = task.how, sum(int((gain_T > 0).sum()) for gain_T in task.gains)
    grown, blank = ngram_of(lm, *new_table(task.bytes_per_token, worth), _WIDTH, how.seed)
    ngram = grown.embedding.ngram
    assert ngram is not None
    chosen = choose_rows(ngram, task.traces, task.gains, task.core_T, how.max_core_rise)
    if not bool((chosen.gain_K > 0).any()):
        return Learned(lm, 0, [], [], [_NOTHING])
    student = with_change(grown, chosen.rows_K, blank=blank)
    rates = {CHANGE: how.lr, **({PROJECT: 0.1 * how.lr} if blank else {})}
    slept, found = task.train(student, rates)
    table = student.embedding.ngram
    assert isinstance(table, RowChange)
    groups = []
    for at, name in enumerate([*(f"of order {order}" for order in table.orders), "of core text"]):
        own_K = chosen.group_K == at
        if count := int(own_K.sum()):
            reads = float(chosen.reads_K[own_K].sum()) / chosen.core_places
            title = f"embedding.ngram.weight, {count} rows {name}"
            groups.append(Group(title, table.change, own_K, torch.zeros(()), reads))
    traced_K = chosen.group_K < len(ngram.orders)
    note = (
        f"{int(traced_K.sum())} of {chosen.wanted} rows that sessions gain by may change; core text reads one at "
        f"{float(chosen.reads_K[traced_K].sum()) / chosen.core_places:.2%} of its places"
    )
    parts = [*task.keep(student, groups), *found[1:]]
    return Learned(merged(student, grown), slept.steps, slept.events, parts, [note])


def _into_weights(lm: LanguageModel, task: _Task) -> Learned:
    """The weights in whose place those of a session stand; of a model without such, backbone and norm."""
    if not any(bool((gain_T > GAIN).any()) for gain_T in task.gains):
        return Learned(lm, 0, [], [], [_NOTHING])
    own = own_learner(lm, task.tokenizer.bos_id)
    names = slow_names(lm) if own is None else [*own[1].init().weights]
    student = copy.deepcopy(lm).requires_grad_(False)
    slept, _ = task.train(student, dict.fromkeys(names, task.how.lr))
    before = dict(lm.named_parameters())
    groups = [Group(name, student.get_parameter(name), ..., before[name], None) for name in names]
    return Learned(student, slept.steps, slept.events, task.keep(student, groups))


def _selective(
    lm: LanguageModel, traces: Sequence[Trace], teachers: Sequence[Tensor]
) -> tuple[list[Trace], list[Tensor]]:
    """The traces with their teachers, where those know better; and by how many nats ``[T]`` they do."""
    found, gains = [], []
    with torch.inference_mode():
        for trace, teacher_TV in zip(traces, teachers, strict=True):
            base_TV = lm(trace.tokens_T[None], **still(lm))[0][0].log_softmax(-1)
            known_T, held_T = (t.float().gather(1, trace.ids_T[:, None])[:, 0] for t in (teacher_TV, base_TV))
            better_T = known_T > held_T
            taught_TV = torch.where(better_T[:, None], teacher_TV, base_TV.half())
            found.append(replace(trace, taught_TV=taught_TV, known_T=known_T.masked_fill(~better_T, -math.inf)))
            gains.append((known_T - held_T).clamp(min=0))
    return found, gains


def _trace_loss(lm: LanguageModel, traces: Sequence[Trace]) -> float:
    """Mean KL from the teachers, nats per token, each trace read whole."""
    total, count = 0.0, 0
    with torch.no_grad():
        for trace in traces:
            assert trace.taught_TV is not None
            mask_1T = torch.ones(1, len(trace.ids_T), dtype=torch.bool)
            logits_1TV = lm(trace.tokens_T[None], **still(lm))[0]
            total += float(divergence_N(logits_1TV, trace.taught_TV[None].float(), mask_1T)) * len(trace.ids_T)
            count += len(trace.ids_T)
    return total / max(1, count)
