"""From a session's options to what it learns with: model, memory, rule, learner, guard with its canaries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import SessionOptions
from fastweights.services.update_rules import update_rule

if TYPE_CHECKING:
    from fastweights.core.learner import GradientLearner
    from fastweights.guard.guard import Guard
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.registry import LoadedModel

_KEPT = 32  # combinations of model and options whose canaries stay prepared


@dataclass(frozen=True, eq=False)
class Parts:
    """Built from a model and options alone; holds no session's state."""

    open_model: OpenModel
    model: AdaptedLM
    learner: GradientLearner
    guard: Guard
    chunk_tokens: int

    @property
    def loaded(self) -> LoadedModel:
        return self.open_model.loaded


class PartsCache:
    """The canaries' frozen part is computed once for each model and options, and kept."""

    def __init__(self, pool: ModelPool) -> None:
        self.pool = pool
        self._built: dict[tuple[str, str], Parts] = {}

    def get(self, options: SessionOptions) -> Parts:
        open_model = self.pool.open(options.model)
        key = (open_model.loaded.checkpoint_sha256, options.model_dump_json(exclude={"model"}))
        parts = self._built.get(key)
        if parts is None or parts.open_model is not open_model:
            while len(self._built) >= _KEPT:
                self._built.pop(next(iter(self._built)), None)
            parts = self._built[key] = build_parts(open_model, options)
        return parts


def build_parts(open_model: OpenModel, options: SessionOptions) -> Parts:
    """Raises FastweightsError where an option does not fit the model (a rank above its width)."""
    from fastweights.core.learner import GradientLearner
    from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, canary_rows
    from fastweights.errors import FastweightsError
    from fastweights.guard.canaries import Canaries, token_rows
    from fastweights.guard.gate import gate_checks
    from fastweights.guard.gate_policy import complete_gate
    from fastweights.guard.guard import Guard
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.memory.context_nets import build_memory

    loaded = open_model.loaded
    try:
        memory = build_memory(options.memory, loaded.lm.config.dim, options.rank)
    except ValueError as error:
        raise FastweightsError(f"session: {error}") from None
    model = AdaptedLM(loaded.lm, memory, loaded.tokenizer.bos_id)
    learner = GradientLearner(model, update_rule(options), options.inner_steps)
    rows = canary_rows(loaded.tokenizer.encode, CANARY_TEXTS.values(), CANARY_TOKENS)
    gate = complete_gate(options.policy.gate, words=loaded.tokenizer.kind != "byte")
    canaries = Canaries.prepare(learner, tuple(CANARY_TEXTS), token_rows(rows, loaded.tokenizer.bos_id))
    return Parts(open_model, model, learner, Guard(options.policy, canaries, gate_checks(gate)), options.chunk_tokens)
