"""From a monitor's options to what reads and judges: model, learner, guard with its canaries, and the text's chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastweights.data.canaries import CANARY_TEXTS, CANARY_TOKENS, TOY_CANARY_TOKENS, canary_rows
from fastweights.errors import FastweightsError
from fastweights.guard.gate_policy import complete_gate
from fastweights.services.generate import ModelPool
from fastweights.services.monitor_records import MonitorOptions
from fastweights.services.update_rules import refuse_rule, update_rule

if TYPE_CHECKING:
    from fastweights.core.learner import Learner
    from fastweights.core.state import Chunk
    from fastweights.data.text_chunks import TextChunk
    from fastweights.guard.guard import Guard
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.own_rule import OwnReader

TOY = "toy"
_MASK_RATE = 0.15
_MASK_EVERY = 3  # of a canary: few tokens need more masks than a chunk for a steady loss


@dataclass(frozen=True, eq=False)
class MonitorParts:
    """Built from options alone; holds no stream's state. ``cut`` makes chunks with their text of a text's pieces."""

    model: AdaptedLM | OwnReader
    learner: Any  # a Learner
    guard: Guard
    cut: Callable[[Iterable[str]], Iterator[TextChunk]]
    decode: Callable[[TextChunk, int], str]  # one token of a chunk, as text
    objective: str
    seed: int

    def chunks(self, pieces: Iterable[str]) -> Iterator[tuple[TextChunk, Chunk]]:
        """The text's chunks (B = 1): for next-token prediction, or with masks."""
        import torch

        from fastweights.core.state import Chunk

        generator = torch.Generator().manual_seed(self.seed % 2**63)
        last = self.model.bos
        for part in self.cut(pieces):
            targets_BT = torch.tensor([part.ids])
            if self.objective == "mlm":
                mask_BT = mask_some(targets_BT.shape[1], generator)[None]
                chunk = Chunk(targets_BT.masked_fill(mask_BT, self.model.bos), targets_BT, mask_BT, part.text)
            else:
                tokens_BT = torch.tensor([[last, *part.ids[:-1]]])
                chunk = Chunk(tokens_BT, targets_BT, torch.ones_like(targets_BT, dtype=torch.bool), part.text)
            last = part.ids[-1]
            yield part, chunk


def mask_some(length: int, generator: Any) -> Any:
    """15 % of the positions, never the first or last; the middle one if none was drawn: bool ``[length]``."""
    import torch

    mask_T = torch.rand(length, generator=generator) < _MASK_RATE
    mask_T[0] = mask_T[-1] = False
    if not bool(mask_T.any()):
        mask_T[length // 2] = True
    return mask_T


def build_monitor(pool: ModelPool, options: MonitorOptions, canary_text: Sequence[str] | None = None) -> MonitorParts:
    """Raises FastweightsError where an option does not fit the model."""
    from fastweights.core.learner import GradientLearner
    from fastweights.guard.gate import gate_checks
    from fastweights.guard.guard import Guard

    texts = dict(CANARY_TEXTS) if canary_text is None else {f"own-{i}": t for i, t in enumerate(canary_text, 1)}
    if options.model == TOY:
        model, learner, cut, decode, encode, canary_tokens = _toy(options)
        words = True
    else:
        model, learner, cut, decode, encode, canary_tokens = _stored(pool, options)
        words = pool.open(options.model).loaded.tokenizer.kind != "byte"
    if learner is None:
        learner = GradientLearner(model, update_rule(options), options.inner_steps)
    policy = options.policy
    guard = Guard(
        policy,
        _canaries(learner, model, texts, encode, canary_tokens, options.objective),
        gate_checks(complete_gate(policy.gate, words=words)),
        score_after=False,
    )
    return MonitorParts(model, learner, guard, cut, decode, options.objective, options.seed)


def _toy(options: MonitorOptions) -> tuple[Any, ...]:
    from fastweights.data.hashed_words import MASK, word_id, words
    from fastweights.data.text_chunks import word_chunks
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.device import set_threads
    from fastweights.models.memory.context_nets import LinearContext
    from fastweights.models.toy import DIM, ToyLM

    set_threads()
    model = AdaptedLM(ToyLM(options.backbone, options.seed), LinearContext(DIM, "adapter.weight"), MASK)

    def decode(part: TextChunk, at: int) -> str:
        assert part.tokens is not None
        return part.tokens[at]

    return (
        model,
        None,
        lambda pieces: word_chunks(pieces, options.chunk_tokens),
        decode,
        lambda text: [word_id(token) for token in words(text)],
        TOY_CANARY_TOKENS,
    )


def _stored(pool: ModelPool, options: MonitorOptions) -> tuple[Any, ...]:
    from fastweights.data.text_chunks import token_chunks
    from fastweights.models.adapted_lm import AdaptedLM
    from fastweights.models.memory.context_nets import LinearContext
    from fastweights.models.own_rule import own_learner

    loaded = pool.open(options.model).loaded
    tokenizer = loaded.tokenizer
    if (own := own_learner(loaded.lm, tokenizer.bos_id)) is not None:
        refuse_rule(options)
        model, learner = own
    else:
        model, learner = AdaptedLM(loaded.lm, LinearContext(loaded.lm.config.dim), tokenizer.bos_id), None
    return (
        model,
        learner,
        lambda pieces: token_chunks(pieces, tokenizer, options.chunk_tokens),
        lambda part, at: tokenizer.decode([part.ids[at]]),
        tokenizer.encode,
        CANARY_TOKENS,
    )


def _canaries(
    learner: Learner,
    model: AdaptedLM | OwnReader,
    texts: dict[str, str],
    encode: Callable[[str], list[int]],
    tokens: int,
    objective: str,
) -> Any:
    from fastweights.guard.canaries import Canaries, token_rows

    rows = canary_rows(encode, texts.values(), tokens)
    if not all(rows):
        raise FastweightsError("canary_text has no token in it: give each canary at least one word")
    chunk = token_rows(rows, model.bos)
    if objective == "mlm":
        mask_BT = chunk.mask_BT.clone()
        mask_BT[:, 1:] &= (_positions(chunk) % _MASK_EVERY == 1)[1:]
        mask_BT[:, 0] &= chunk.mask_BT.sum(1) == 1
        chunk = chunk._replace(tokens_BT=chunk.targets_BT.masked_fill(mask_BT, model.bos), mask_BT=mask_BT)
    return Canaries.prepare(learner, tuple(texts), chunk)


def _positions(chunk: Chunk) -> Any:
    import torch

    return torch.arange(chunk.targets_BT.shape[1])
