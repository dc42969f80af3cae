"""What sessions leave for sleep: their turns as traces, and what their fast weights say of them. Torch loads late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastweights.errors import FastweightsError
from fastweights.services.chat import ChatService
from fastweights.services.generate import OpenModel
from fastweights.services.sleep.records import SleepSource, SleepTurn
from fastweights.services.update_rules import has_own_rule
from fastweights.store.commits import Commit
from fastweights.store.meta import Meta

if TYPE_CHECKING:
    from torch import Tensor

    from fastweights.core.state import FastState
    from fastweights.services.session_parts import Parts
    from fastweights.train.sleep import Trace

_PREVIEW = 80  # characters


@dataclass(frozen=True)
class Harvest:
    """A session and its turns, oldest first. ``memory``: its name, or the kind of a model that is its own."""

    meta: Meta
    turns: list[Commit]
    memory: str

    def source(self, tokens: int) -> SleepSource:
        turns = [
            SleepTurn(turn=c.turn, commit=c.id, preview=" ".join(str(c.record["prompt"]).split())[:_PREVIEW])
            for c in self.turns
        ]
        return SleepSource(session_id=self.meta.id, memory=self.memory, head=self.meta.head, turns=turns, tokens=tokens)


def harvest(
    chat: ChatService, model: OpenModel, max_memories: int, only: Sequence[str] | None
) -> tuple[list[Harvest], list[str]]:
    """The latest ``max_memories`` turns that sessions of the model learned from and that no revert took back, each once
    (forks share theirs); and a note for each session left out, e.g. one whose state cannot be read."""
    sessions, base = chat.sessions, model.loaded.model_id
    metas = [sessions.meta(name) for name in only] if only else [m for m in sessions.list() if m.model == base]
    notes: list[str] = []
    found: list[tuple[Commit, int]] = []
    seen: set[str] = set()
    for at, meta in enumerate(metas):
        if meta.model != base:
            raise FastweightsError(f"session {meta.id!r} is of model {meta.model!r}: give --base-model-id {meta.model}")
        if sessions.read(meta.root).record.get("model_sha256") != model.loaded.checkpoint_sha256:
            notes.append(f"session {meta.id} is left out: it began with other weights of {base}")
            continue
        for one in sessions.commits.lived(meta.head):
            if one.commit.kind == "turn" and not one.frozen and one.commit.id not in seen:
                seen.add(one.commit.id)
                found.append((replace(one.commit, record=one.record), at))
    latest = sorted(found, key=lambda pair: (pair[0].created_at, pair[0].id))[-max_memories:]
    turns: dict[int, list[Commit]] = {}
    for commit, at in latest:
        turns.setdefault(at, []).append(commit)
    for at in sorted(turns):
        try:
            chat.open_session(metas[at].id)
        except FastweightsError as error:
            if only:
                raise
            notes.append(f"session {metas[at].id} is left out: {error}")
            del turns[at]
    if not turns:
        raise FastweightsError(
            f"no session of model {base!r} has learned from a turn: talk to one first (`fastweights chat`), or name "
            + "; ".join(["another --base-model-id", *notes])
        )
    kind = model.loaded.lm.config.kind if has_own_rule(chat.pool.models, base) else None
    return [Harvest(metas[at], turns[at], kind or str(metas[at].options.get("memory"))) for at in sorted(turns)], notes


def trace_of(one: Harvest, model: OpenModel) -> Trace:
    """The turns in one stream, each prompt and reply a paragraph."""
    import torch

    from fastweights.train.sleep import Trace

    ids: list[int] = []
    asked: list[bool] = []
    for commit in one.turns:
        for text, prompt in ((commit.record["prompt"], True), (commit.record["reply"], False)):
            said = model.loaded.tokenizer.encode(text if text.endswith("\n") else text + "\n") if text else []
            ids += said
            asked += [prompt] * len(said)
    return Trace(one.meta.id, model.loaded.tokenizer.bos_id, torch.tensor(ids), torch.tensor(asked))


def taught(chat: ChatService, one: Harvest, trace: Trace) -> Tensor:
    """Log-probabilities ``[T, V]`` fp16 of the trace, read from a fresh start with the fast weights of the session's
    head; nothing is learned meanwhile."""
    at = chat.open_session(one.meta.id)
    fresh = at.parts.learner.init()
    return said(at.parts, replace(at.value.fast, carry=fresh.carry), trace.tokens_T.tolist())


def said(parts: Parts, fast: FastState, tokens: list[int]) -> Tensor:
    """What a memory makes of each token, in turn."""
    import numpy as np
    import torch

    from fastweights.models.memory.build import decoder_of
    from fastweights.models.slow_weights import SlowWeights
    from fastweights.services.session_parts import BesideHeadParts, MemoryParts

    if not isinstance(parts, MemoryParts):  # a model whose own weights are the fast ones
        own = SlowWeights(parts.loaded.lm, tuple(fast.weights))
        with torch.inference_mode():
            logits_NTV = own.logits({n: w[0] for n, w in fast.weights.items()}, torch.tensor([tokens]), learn=False)
        return logits_NTV[0].log_softmax(-1).half()
    found: list[Any] = []
    with parts.open_model.decoder() as frozen:
        if isinstance(parts, BesideHeadParts):
            decoder = decoder_of(parts.learner, fast, frozen)
            logits = decoder.logits
        else:
            decoder, read = frozen, parts.model.memory.reader(fast.weights)
            logits = lambda h_D: frozen.logits(read(h_D))  # noqa: E731
        decoder.load(fast.carry["lm"])
        for token in tokens:
            found.append(np.array(logits(decoder.step(token)), dtype=np.float32))
    return torch.from_numpy(np.stack(found)).log_softmax(-1).half()
