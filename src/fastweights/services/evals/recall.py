"""``eval recall``: what a memory still knows of stated facts, after a text of any length between. Torch loads late.

A fact is a made-up name and random letters, which nothing but the statement tells. All are stated (``times`` over),
then comes other text, then they are stated again: counted are the bits of the letters of that last statement, each
chunk scored before it is learned. 4.70 bits a letter is knowing nothing but the alphabet.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fastweights.data
from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError
from fastweights.models.memory.names import MEMORIES, MemoryName
from fastweights.services.evals.adapt_reads import check, chunks_of, options_of, state_bytes, usual_memory
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.store.root import Store

if TYPE_CHECKING:
    from fastweights.core.state import Chunk

LETTERS = 8
MAX_DISTANCE, MAX_FACTS, MAX_TIMES = 1 << 20, 1000, 100
_WINDOW, _FROZEN = "attention_window", "frozen"
_SHARPNESS, _TRUST = 0.3, 0.7  # of the attention window's softmax, and its weight in the mixture


class Document(NamedTuple):
    """``letters``: byte positions of the letters asked for."""

    data: bytes
    letters: list[int]


def document(seed: int, distance: int, times: int, facts: int) -> Document:
    """The facts ``times`` over, ``distance`` bytes of other text, and the facts again."""
    rng = random.Random(seed)
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
    names = set[str]()
    while len(names) < facts:
        names.add("".join(rng.choices(syllables, k=3)).capitalize())
    said = [(name, "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=LETTERS))) for name in sorted(names)]
    rng.shuffle(said)
    sentences = [f"The secret word of {name} is {word}.\n" for name, word in said]
    text = "".join(sentences * times) + _filler(rng, distance)
    letters = []
    for (_, word), sentence in zip(said, sentences, strict=True):
        first = len(text) + sentence.rindex(word)
        letters += range(first, first + LETTERS)
        text += sentence
    return Document(text.encode("ascii"), letters)


def _filler(rng: random.Random, size: int) -> str:
    """Text that ships, from a place of its own on; it begins again where it ends."""
    file = Path(next(iter(fastweights.data.__path__))) / "assets" / "tiny.txt"
    text = file.read_text(encoding="utf-8").encode("ascii", errors="ignore").decode()
    start = rng.randrange(len(text))
    return (text[start:] + text * (size // len(text) + 1))[: max(0, size - 1)] + "\n" * min(size, 1)


def eval_recall(
    store: Store,
    *,
    model_id: str | None = None,
    distances: Sequence[int] = (2048,),
    times: Sequence[int] = (1, 3),
    facts: int = 12,
    memories: Sequence[MemoryName] = MEMORIES,
    chunk_tokens: int = 64,
    guard: bool = True,
    seed: int = 0,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The JSON that ``eval recall`` prints: ``results``, one a memory, distance and number of times.

    ``attention_window``: exact attention over the last hidden states, as many as fit into the bytes of the default
    memory (the capacity gauge).
    """
    import torch

    from fastweights.core.memory import keep_freed_memory

    check(chunk_tokens, seed)
    for name, values, low, high in (
        ("distance", distances, 0, MAX_DISTANCE),
        ("times", times, 1, MAX_TIMES),
        ("facts", (facts,), 1, MAX_FACTS),
    ):
        if wrong := [value for value in values if not low <= value <= high]:
            raise FastweightsError(f"{name} {wrong[0]}: give {low} to {high:,}")
    torch.set_num_threads(1)
    keep_freed_memory()
    pool = ModelPool(store)
    model = pool.open(pool.models.resolve(model_id))
    usual = usual_memory(pool, model)
    results: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        results.append(row)
        if on_row is not None:
            on_row(row)

    for distance in distances:
        for often in times:
            asked = {"distance": distance, "times": often, "facts": facts}
            page = document(seed, distance, often, facts)
            chunks = chunks_of(model, page.data, chunk_tokens)
            own = _remembered(model, chunks, page, usual, chunk_tokens, guard)
            add({"memory": "default", **asked, **own})
            for name in memories if usual else ():
                figures = own if name == usual else _remembered(model, chunks, page, name, chunk_tokens, guard)
                add({"memory": name, **asked, **figures})
            for name, bits in _without_learning(model, page, own["state_bytes"]).items():
                add({"memory": name, **asked, **bits})
    return {
        "model_id": model.loaded.model_id,
        "default_memory": usual,
        "guard": guard,
        "seed": seed,
        "uniform_bits_per_letter": math.log2(26),
        "results": results,
        "cpu_seconds": cpu_seconds(),
    }


def _remembered(
    model: OpenModel, chunks: list[Chunk], page: Document, name: MemoryName | None, chunk_tokens: int, guarded: bool
) -> dict[str, Any]:
    import torch

    from fastweights.services.session_parts import build_parts

    parts = build_parts(model, options_of(model, name, chunk_tokens))
    session = parts.guard.begin(parts.learner, parts.learner.init())
    asked, bits, at, refused = set(page.letters), 0.0, 0, 0
    for chunk in chunks:
        spans = _spans(model, chunk, at)
        wanted = torch.tensor([[bool(asked & set(span)) for span in spans]])
        at = spans[-1].stop if spans else at
        if bool(wanted.any()):
            loss = parts.learner.score(session.fast, chunk._replace(mask_BT=wanted))
            bits += float(loss) * int(wanted.sum()) / math.log(2)
        if guarded:
            outcome = parts.guard.step(parts.learner, session, chunk)
            session, refused = outcome.session, refused + (not outcome.committed)
        else:
            session = type(session)(parts.learner.propose(session.fast, chunk).after, session.guard)
    return {
        "bits_per_letter": bits / len(page.letters),
        "state_bytes": state_bytes(session.fast),
        "refused": refused,
        "chunks": len(chunks),
    }


def _spans(model: OpenModel, chunk: Chunk, start: int) -> list[range]:
    """The bytes that each target stands for."""
    spans = []
    for token in chunk.targets_BT[0].tolist():
        size = len(model.loaded.tokenizer.decode_bytes([token]))
        spans.append(range(start, start + size))
        start += size
    return spans


def _without_learning(model: OpenModel, page: Document, budget: int) -> dict[str, dict[str, Any]]:
    """The frozen model, and it with attention over a window of hidden states of ``budget`` bytes."""
    import torch

    lm, tokenizer = model.loaded.lm, model.loaded.tokenizer
    ids = tokenizer.encode_bytes(page.data)
    tokens_BT = torch.tensor([[tokenizer.bos_id, *ids[:-1]]])
    hidden, carry = [], lm.init_carry(1)
    with torch.no_grad():
        for part_BT in tokens_BT.split(1024, dim=1):
            h_BTD, carry = lm.hidden(part_BT, carry)
            hidden.append(h_BTD[0])
        h_TD, next_T = torch.cat(hidden), torch.tensor(ids)
        window = max(1, budget // (4 * h_TD.shape[1] + 8))
        plain = windowed = 0.0
        for t in _positions(tokenizer, ids, page.letters):
            p_V = lm.logits(h_TD[t : t + 1])[0].softmax(0)
            first = max(0, t - window)
            attention = (_SHARPNESS * h_TD[first:t] @ h_TD[t]).softmax(0)
            seen = float(attention[next_T[first:t] == next_T[t]].sum())
            p = float(p_V[next_T[t]])
            plain -= math.log2(max(p, 1e-30))
            windowed -= math.log2(max((1 - _TRUST) * p + _TRUST * seen, 1e-30))
    count = len(page.letters)
    return {
        _FROZEN: {"bits_per_letter": plain / count, "state_bytes": 0},
        _WINDOW: {"bits_per_letter": windowed / count, "state_bytes": budget, "window_tokens": window},
    }


def _positions(tokenizer: Any, ids: list[int], letters: list[int]) -> list[int]:
    """Tokens that hold any of the letters."""
    wanted, at, found = set(letters), 0, []
    for i, token in enumerate(ids):
        size = len(tokenizer.decode_bytes([token]))
        if any(b in wanted for b in range(at, at + size)):
            found.append(i)
        at += size
    return found
