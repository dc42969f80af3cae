"""From a session's options to what it learns with: model, learner, guard with its canaries; and how it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastweights.guard.event import Event
from fastweights.services.drawing import OnText, Reply
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.update_rules import refuse_rule, update_rule

if TYPE_CHECKING:
    from fastweights.core.learner import GradientLearner, Learner
    from fastweights.core.state import Chunk, FastState
    from fastweights.guard.guard import Guard
    from fastweights.guard.state import Session
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.own_rule import OwnReader
    from fastweights.models.registry import LoadedModel

_KEPT = 32  # combinations of model and options whose canaries stay prepared
OnChunk = Callable[[Event], None]


@dataclass(frozen=True, eq=False)
class Answer:
    """A reply, the session once it has said it, and one event for each audit of what it wrote meanwhile."""

    reply: Reply
    session: Session
    events: list[Event]


@dataclass(frozen=True, eq=False)
class Parts(ABC):
    """Built from a model and options alone; holds no session's state."""

    open_model: OpenModel
    model: Any  # what reads: an AdaptedLM or an OwnReader
    learner: Any  # a Learner
    guard: Guard
    chunk_tokens: int

    @property
    def loaded(self) -> LoadedModel:
        return self.open_model.loaded

    @abstractmethod
    def skim(self, fast: FastState, chunk: Chunk) -> FastState:
        """The reader goes on over a chunk, and nothing is learned, nor is any fast weight read."""

    @abstractmethod
    def read_frozen(self, carry: Any, chunk: Chunk) -> tuple[float, Any]:
        """Loss (nats per token) and next carry of the model without any fast weight, from such a carry on."""

    @abstractmethod
    def answer(
        self,
        session: Session,
        sampling: Sampling,
        *,
        adapted: bool,
        on_text: OnText | None = None,
        on_chunk: OnChunk | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        """Continue what the session has read; without ``adapted`` as the frozen model (its session means nothing)."""


@dataclass(frozen=True, eq=False)
class MemoryParts(Parts):
    """A frozen model with a memory before its head: it reads as it answers, and writes nothing."""

    model: AdaptedLM
    learner: GradientLearner

    def skim(self, fast: FastState, chunk: Chunk) -> FastState:
        return replace(fast, carry=self.learner.prepare(chunk, fast.carry).inputs["features"]["carry"])

    def read_frozen(self, carry: Any, chunk: Chunk) -> tuple[float, Any]:
        import torch

        from fastweights.core.losses import cross_entropy_B

        lm = self.loaded.lm
        tokens_BT, targets_BT, mask_BT = (t.to(lm.head.weight.device) for t in chunk[:3])
        with torch.no_grad():
            h_BTD, after = lm.hidden(tokens_BT, carry["lm"])
            loss_B = cross_entropy_B(lm.logits(h_BTD), targets_BT, mask_BT)
        return float(loss_B), {**carry, "lm": after, "last_B": targets_BT[:, -1]}

    def answer(
        self,
        session: Session,
        sampling: Sampling,
        *,
        adapted: bool,
        on_text: OnText | None = None,
        on_chunk: OnChunk | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        import torch

        carry = session.fast.carry
        memory = (self.model.memory, session.fast.weights) if adapted else None
        reply = self.open_model.reply(
            carry["lm"], int(carry["last_B"][0]), sampling, memory=memory, on_text=on_text, cancelled=cancelled
        )
        carry = {"lm": reply.carry, "last_B": torch.tensor([reply.last])}
        return Answer(reply, replace(session, fast=replace(session.fast, carry=carry)), [])


@dataclass(frozen=True, eq=False)
class BesideHeadParts(MemoryParts):
    """A frozen model with a memory beside its head, which changes the logits."""

    model: Any
    learner: Any

    def answer(
        self,
        session: Session,
        sampling: Sampling,
        *,
        adapted: bool,
        on_text: OnText | None = None,
        on_chunk: OnChunk | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        import torch

        from fastweights.models.memory.build import decoder_of
        from fastweights.models.memory.decode import MixDecoder

        carry, last = session.fast.carry, int(session.fast.carry["last_B"][0])
        with self.open_model.decoder() as frozen:
            decoder = decoder_of(self.learner, session.fast, frozen)
            used = decoder if adapted else frozen
            reply = self.open_model.reply(
                carry["lm"], last, sampling, decoder=used, on_text=on_text, cancelled=cancelled
            )
        carry = {**carry, "lm": reply.carry, "last_B": torch.tensor([reply.last])}
        if adapted and isinstance(decoder, MixDecoder):
            carry |= {name: torch.from_numpy(value) for name, value in decoder.past.items()}
        return Answer(reply, replace(session, fast=replace(session.fast, carry=carry)), [])


@dataclass(frozen=True, eq=False)
class OwnRuleParts(Parts):
    """A model with fast weights and a rule of its own: it writes while it answers, and the guard audits that.

    Every ``chunk_tokens`` of the reply and its end go through ``Guard.step``. Where the model's state is its fast
    weights (TTT), what it writes while tokens are drawn is provisional until then, and a refusal goes back to the
    weights of the last audit, over the same tokens without learning. TTT-E2E draws with the weights of the last audit.
    Tokens that were said stand.
    """

    model: OwnReader

    def skim(self, fast: FastState, chunk: Chunk) -> FastState:
        return replace(fast, carry=self.model.skim(self.learner.init().weights, chunk, fast.carry))

    def read_frozen(self, carry: Any, chunk: Chunk) -> tuple[float, Any]:
        state = replace(self.learner.init(), carry=carry)
        return float(self.learner.score(state, chunk)), self.skim(state, chunk).carry

    def answer(
        self,
        session: Session,
        sampling: Sampling,
        *,
        adapted: bool,
        on_text: OnText | None = None,
        on_chunk: OnChunk | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        from fastweights.models.recurrent_learner import RecurrentLearner, StillDecoder

        fast = session.fast if adapted else replace(session.fast, weights=self.learner.init().weights)
        still = None
        if not adapted and isinstance(self.model, RecurrentLearner):
            still = StillDecoder(self.model.lm)
        audit = _ReplyAudit(self, session, on_chunk) if adapted else None
        reply = self.open_model.reply(
            self.model.lm_carry(fast),
            int(fast.carry["last_B"][0]),
            sampling,
            decoder=still,
            audit=audit,
            on_text=on_text,
            cancelled=cancelled,
        )
        return Answer(reply, session, []) if audit is None else Answer(reply, audit.session, audit.events)


class _ReplyAudit:
    """Takes what a decoder has written or said through the guard; its carry afterwards is the session's."""

    def __init__(self, parts: OwnRuleParts, session: Session, on_chunk: OnChunk | None) -> None:
        self.parts, self.session, self.on_chunk = parts, session, on_chunk
        self.every = parts.chunk_tokens
        self.events: list[Event] = []

    def __call__(self, ids: list[int], carry: Any, /) -> Any:
        from fastweights.core.chunks import next_token_chunks
        from fastweights.models.recurrent_learner import WRITTEN

        last = int(self.session.fast.carry["last_B"][0])
        (chunk,) = next_token_chunks(last, ids, len(ids))
        chunk = chunk._replace(text=self.parts.loaded.tokenizer.decode(ids), inputs={WRITTEN: carry})
        outcome = self.parts.guard.step(self.parts.learner, self.session, chunk)
        self.session = outcome.session
        self.events.append(outcome.event)
        if self.on_chunk is not None:
            self.on_chunk(outcome.event)
        return self.parts.model.lm_carry(self.session.fast)


class PartsCache:
    """The canaries' frozen part is computed once for each model and options, and kept.

    Each call gets a guard of its own over it: a guard remembers the last weights that it measured, which belong to one
    session and are let go with it.
    """

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
        return replace(parts, guard=copy(parts.guard))


def build_parts(open_model: OpenModel, options: SessionOptions) -> Parts:
    """Raises FastweightsError where an option does not fit the model (a rank above its width, a rule for a model that
    has its own)."""
    from fastweights.core.learner import GradientLearner
    from fastweights.models.own_rule import own_learner

    loaded, tokens = open_model.loaded, options.chunk_tokens
    if (own := own_learner(loaded.lm, loaded.tokenizer.bos_id)) is not None:
        refuse_rule(options)
        reader, learner = own
        return OwnRuleParts(open_model, reader, learner, _guard(learner, loaded, options), tokens)
    if options.memory not in ("linear", "low_rank"):
        from fastweights.models.memory.build import beside_head

        beside = beside_head(options.memory, loaded.lm, loaded.tokenizer, update_rule(options), options.inner_steps)
        return BesideHeadParts(open_model, beside, beside, _guard(beside, loaded, options), tokens)
    model = _adapted(loaded, options)
    learner = GradientLearner(model, update_rule(options), options.inner_steps)
    return MemoryParts(open_model, model, learner, _guard(learner, loaded, options), tokens)


def _adapted(loaded: LoadedModel, options: SessionOptions) -> AdaptedLM:
    from fastweights.errors import FastweightsError
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.memory.context_nets import build_memory

    try:
        memory = build_memory(options.memory, loaded.lm.config.dim, options.rank)
    except ValueError as error:
        raise FastweightsError(f"session: {error}") from None
    return AdaptedLM(loaded.lm, memory, loaded.tokenizer.bos_id)


def _guard(learner: Learner, loaded: LoadedModel, options: SessionOptions) -> Guard:
    """The options' policy, and the canaries that ship."""
    from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, canary_rows
    from fastweights.guard.canaries import Canaries, token_rows
    from fastweights.guard.gate import gate_checks
    from fastweights.guard.gate_policy import complete_gate
    from fastweights.guard.guard import Guard

    rows = canary_rows(loaded.tokenizer.encode, CANARY_TEXTS.values(), CANARY_TOKENS)
    gate = complete_gate(options.policy.gate, words=loaded.tokenizer.kind != "byte")
    canaries = Canaries.prepare(learner, tuple(CANARY_TEXTS), token_rows(rows, loaded.tokenizer.bos_id))
    return Guard(options.policy, canaries, gate_checks(gate))
