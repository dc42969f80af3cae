"""From a memory's name to its learner over a frozen model, for the memories that change logits."""

from __future__ import annotations

from functools import lru_cache

from fastweights.core.learner import GradientLearner
from fastweights.core.rules import UpdateRule
from fastweights.core.state import FastState
from fastweights.data.tokenizer import Tokenizer
from fastweights.models.decoding import SequenceDecoder
from fastweights.models.memory.decode import LogitDecoder, MixDecoder
from fastweights.models.memory.logit_memories import DeltaRule, HeadDelta, LogitModel
from fastweights.models.memory.online_mix import MixConfig, OnlineMix
from fastweights.models.memory.vocabulary import Vocabulary, vocabulary
from fastweights.models.registry import LanguageModel

BesideHead = OnlineMix | DeltaRule | GradientLearner
FIXED = MixConfig(rate=0.0, map_rate=0.0, trust=0.3, trust_long=0.3)
"""``ngram``: a sum with weights that stay."""


def beside_head(
    name: str, lm: LanguageModel, tokenizer: Tokenizer, rule: UpdateRule, inner_steps: int = 1
) -> BesideHead:
    """``head`` follows ``rule``; ``delta``, ``ngram`` and ``mix`` have rules of their own."""
    bos = tokenizer.bos_id
    if name == "head":
        model = LogitModel(lm, HeadDelta(tokenizer.vocab_size, lm.config.dim), bos)
        return GradientLearner(model, rule, inner_steps)
    if name == "delta":
        keys = HeadDelta(tokenizer.vocab_size, lm.config.dim, unit=True, name="delta.map")
        return DeltaRule(LogitModel(lm, keys, bos))
    if name in ("ngram", "mix"):
        return OnlineMix(lm, *_vocabulary(_Named(tokenizer)), bos, FIXED if name == "ngram" else MixConfig())
    raise ValueError(f"memory {name!r} is not known; use head, delta, ngram or mix")


def decoder_of(learner: BesideHead, state: FastState, frozen: SequenceDecoder) -> LogitDecoder | MixDecoder:
    """What answers with a session's memory (B = 1)."""
    if isinstance(learner, OnlineMix):
        return MixDecoder(frozen, learner, state)
    model = learner.model
    assert isinstance(model, LogitModel)
    return LogitDecoder(frozen, model.memory.reader(state.weights))


class _Named:
    """A tokenizer that is equal to every other of its fingerprint."""

    def __init__(self, it: Tokenizer) -> None:
        self.it, self._name = it, it.fingerprint()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)


@lru_cache(maxsize=8)
def _vocabulary(named: _Named) -> Vocabulary:
    return vocabulary(named.it)
