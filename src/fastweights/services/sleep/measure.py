"""What speaks for and against a candidate: held-out core text, canaries, the sessions' prompts. Torch loads late."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fastweights.services.sleep.records import SleepForgetting, SleepRetention

if TYPE_CHECKING:
    from torch import Tensor

    from fastweights.data.corpus import Corpus
    from fastweights.models.registry import LanguageModel, LoadedModel
    from fastweights.train.sleep import Lessons, Trace

HELD_OUT = 1 << 16
"""Tokens of held-out core text that forgetting is measured on."""
LEARNING = 1 << 14
"""The same where the model learns as it reads."""
_BATCH, _LESSONS, _WINDOW = 16, 6, 1024


class Measured(NamedTuple):
    """``core`` and ``mix`` in bits per byte, canaries in nats per token, ``nats_T`` of each trace. ``learning``: core
    text of a model that learns as it reads, but not as a module (TTT-E2E)."""

    core: float
    learning: float | None
    mix: float
    canaries: dict[str, float]
    nats: list[Tensor]


class Meter:
    """Measures models on the same texts. ``longest``: tokens that they may read on end."""

    def __init__(
        self, base: LoadedModel, corpus: Corpus, traces: Sequence[Trace], lessons: Lessons, longest: int | None
    ) -> None:
        self.tokenizer, self.corpus, self.traces, self.longest = base.tokenizer, corpus, traces, longest
        self._window = int((base.manifest.get("train_config") or {}).get("seq_len") or _WINDOW)
        self._mix = [lessons.next() for _ in range(_LESSONS)]

    def measure(self, lm: LanguageModel) -> Measured:
        from fastweights.models.scoring import corpus_score

        score, n_bytes = corpus_score(lm, self.corpus.val, self.tokenizer, limit=HELD_OUT, window=self.longest)
        core = score.bits_per_byte(n_bytes)
        return Measured(core, self._learning(lm), self._mixed(lm), self._canaries(lm), nats(lm, self.traces))

    def _learning(self, lm: LanguageModel) -> float | None:
        from fastweights.models.e2e import E2ETransformer
        from fastweights.models.scoring import corpus_score
        from fastweights.train.meta import Adapting

        if not isinstance(lm, E2ETransformer):
            return None
        how: dict[str, Any] = {"limit": LEARNING, "window": self._window, "inference": False}
        score, n_bytes = corpus_score(Adapting(lm), self.corpus.val, self.tokenizer, **how)
        return score.bits_per_byte(n_bytes)

    def _mixed(self, lm: LanguageModel) -> float:
        import torch
        from torch.nn.functional import cross_entropy

        total, size = 0.0, 0
        with torch.inference_mode():
            for lesson in self._mix:
                logits_NTV = lm(lesson.tokens_NT)[0]
                nats_N = cross_entropy(logits_NTV[lesson.mask_NT], lesson.targets_NT[lesson.mask_NT], reduction="sum")
                total += float(nats_N)
                size += len(self.tokenizer.decode_bytes(lesson.targets_NT[lesson.mask_NT].tolist()))
        return total / math.log(2) / max(size, 1)

    def _canaries(self, lm: LanguageModel) -> dict[str, float]:
        import torch

        from fastweights.core.losses import cross_entropy_B
        from fastweights.data.canaries import CANARY_TEXTS
        from fastweights.guard.canaries import token_rows

        chunk = token_rows([self.tokenizer.encode(text) for text in CANARY_TEXTS.values()], self.tokenizer.bos_id)
        with torch.inference_mode():
            loss_B = cross_entropy_B(lm(chunk.tokens_BT)[0], chunk.targets_BT, chunk.mask_BT)
        return dict(zip(CANARY_TEXTS, loss_B.tolist(), strict=True))


def nats(lm: LanguageModel, traces: Sequence[Trace]) -> list[Tensor]:
    """Of each trace the loss of every token ``[T]``, read from a fresh start; nothing is learned meanwhile."""
    return [-table_TV.gather(1, trace.ids_T[:, None])[:, 0] for trace, table_TV in _read(lm, traces)]


def _read(lm: LanguageModel, traces: Sequence[Trace]) -> Iterator[tuple[Trace, Tensor]]:
    """(trace, log-probabilities) in the given order; those of about one length are read together, padded at the end."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from fastweights.models.slow_weights import still

    found: dict[int, Tensor] = {}
    order = sorted(range(len(traces)), key=lambda i: len(traces[i].ids_T))
    with torch.inference_mode():
        for at in range(0, len(order), _BATCH):
            group = order[at : at + _BATCH]
            tokens_BT = pad_sequence([traces[i].tokens_T for i in group], batch_first=True)
            table_BTV = lm(tokens_BT, **still(lm))[0].log_softmax(-1)
            found |= {i: table_BTV[b, : len(traces[i].ids_T)] for b, i in enumerate(group)}
    for i, trace in enumerate(traces):
        yield trace, found[i]


def retention(
    traces: Sequence[Trace], base: Sequence[Tensor], adapted: Sequence[Tensor], candidate: Sequence[Tensor]
) -> tuple[list[SleepRetention], float | None]:
    """A row a session, of the tokens of its prompts, in bits; and the share of the gap closed, all tokens together."""
    rows, sums = [], [0.0, 0.0, 0.0]
    for trace, *read in zip(traces, base, adapted, candidate, strict=True):
        bits = [float(nats_T[trace.asked_T].sum()) / math.log(2) for nats_T in read]
        count = max(1, int(trace.asked_T.sum()))
        sums = [a + b for a, b in zip(sums, bits, strict=True)]
        rows.append(
            SleepRetention(
                session_id=trace.session_id,
                tokens=count,
                base=bits[0] / count,
                adapted=bits[1] / count,
                candidate=bits[2] / count,
                closed=closed(*bits),
            )
        )
    return rows, closed(*sums)


def closed(base: float, adapted: float, candidate: float) -> float | None:
    """Share of the gap between base and adapted; None where there is none to close."""
    return (base - candidate) / (base - adapted) if base > adapted else None


def forgetting(before: Measured, after: Measured, core: str) -> list[SleepForgetting]:
    """Core text first, then each canary."""
    rows = [(core, "core", before.core, after.core)]
    if before.learning is not None and after.learning is not None:
        rows.append((f"{core}, learned from as it is read", "core", before.learning, after.learning))
    rows += [(name, "canary", loss, after.canaries[name]) for name, loss in before.canaries.items()]
    return [SleepForgetting(name=n, kind=k, before=b, after=a, rise=a - b) for n, k, b, a in rows]  # type: ignore[arg-type]
