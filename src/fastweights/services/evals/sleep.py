"""``eval sleep``: both ways of sleeping on the same sessions, at equal CPU. Torch loads late.

Sessions of a store of its own are each told a few made-up facts (as ``eval recall`` makes them). Counted are the bits
of each letter when a fact is stated again after held-out core text: by the base, by the base with the session's fast
weights, and by the candidates, which have none.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastweights.clock import cpu_seconds
from fastweights.errors import FastweightsError
from fastweights.models.memory.names import DEFAULT, MemoryName
from fastweights.services.chat import ChatService
from fastweights.services.evals.recall import LETTERS
from fastweights.services.generate import ModelPool, OpenModel
from fastweights.services.records import Sampling, SessionOptions
from fastweights.services.sleep.consolidate import core_text, sleep
from fastweights.services.sleep.measure import closed
from fastweights.services.sleep.records import SleepManifest, SleepMode, SleepRequest
from fastweights.services.sleep.traces import said
from fastweights.services.update_rules import has_own_rule
from fastweights.store import atomic
from fastweights.store.models import MANIFEST, Models
from fastweights.store.root import MODELS, Store

if TYPE_CHECKING:
    from torch import Tensor

    from fastweights.models.registry import LoadedModel

MODES: tuple[SleepMode, ...] = ("delta", "replay")
_BEFORE = 96  # bytes of core text before a fact is stated again
_REPLY = 8  # tokens
_BASE = "base"


class Question(NamedTuple):
    """A fact stated again; ``letters``: the tokens that hold its letters (positions in ``ids``)."""

    session_id: str
    ids: list[int]
    letters: list[int]


def eval_sleep(
    store: Store,
    *,
    model_id: str | None = None,
    sessions: int = 20,
    facts: int = 3,
    times: int = 2,
    memory: MemoryName = DEFAULT,
    core_path: str | None = None,
    train_steps: int = 120,
    replay_lr: float | None = None,
    modes: tuple[SleepMode, ...] = MODES,
    seed: int = 0,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """The JSON that ``eval sleep`` prints: ``results``, one a mode, the first with ``train_steps`` steps and each other
    with as much CPU as that one took."""
    if min(sessions, facts, times, train_steps) < 1:
        raise FastweightsError(f"sessions={sessions}, facts={facts}, times={times}, train_steps={train_steps}: from 1")
    given = Models(store)
    base = given.resolve(model_id)
    with tempfile.TemporaryDirectory(prefix="fastweights-eval-sleep-") as place:
        own = Store(place)
        shutil.copytree(given.path(base), Path(place) / MODELS / _BASE, ignore=shutil.ignore_patterns("ckpt", "*.lock"))
        _rename(Path(place) / MODELS / _BASE)
        chat = ChatService(own, pool=ModelPool(own, "cpu"))
        model = chat.pool.open(_BASE)
        rng = random.Random(seed)
        stated = _talk(chat, sessions, facts, times, memory, rng, note)
        asked = _questions(own, model, core_path, stated, rng)
        letters = {"base": _read(model.loaded, asked), "adapted": _adapted(chat, asked)}
        note(f"bits a letter: base {letters['base']:.2f}, with fast weights {letters['adapted']:.2f}")
        results: list[dict[str, Any]] = []
        budget = None
        for mode in modes:
            started = time.process_time()
            steps = train_steps if budget is None else 100_000
            lr = replay_lr if mode == "replay" else None
            request = SleepRequest(
                mode=mode, base_model_id=_BASE, model_id=mode, core_path=core_path, train_steps=steps, lr=lr, seed=seed
            )
            found = sleep(own, request, lambda text, mode=mode: note(f"{mode}: {text}"), cpu_budget=budget)
            spent = time.process_time() - started
            budget = budget or spent
            results.append(_row(found, letters, _read(chat.pool.open(mode).loaded, asked), spent))
    return {
        "model_id": base,
        "memory": model.loaded.lm.config.kind if has_own_rule(given, base) else memory,
        "sessions": sessions,
        "facts": sessions * facts,
        "times": times,
        "seed": seed,
        "uniform_bits_per_letter": math.log2(26),
        "results": results,
        "cpu_seconds": cpu_seconds(),
    }


def _row(found: SleepManifest, letters: dict[str, float], candidate: float, spent: float) -> dict[str, Any]:
    """``closed``: share of the gap in bits a letter; ``retention``: the same of all tokens of the prompts."""
    return {
        "mode": found.mode,
        "bits_per_letter": {**letters, "candidate": candidate},
        "closed": closed(letters["base"], letters["adapted"], candidate),
        "retention": found.retention,
        "core_before": found.core_before,
        "core_after": found.core_after,
        "core_rise": found.core_after - found.core_before,
        "worst_canary_rise": max(row.rise for row in found.forgetting_rows if row.kind == "canary"),
        "steps": found.steps,
        "lr": found.request.lr,
        "refused": sum(write.decision != "committed" for write in found.writes),
        "cpu_seconds": spent,
    }


def _rename(folder: Path) -> None:
    """The copy of a model under the id of its folder."""
    manifest = atomic.read_json(folder / MANIFEST)
    atomic.write_json(folder / MANIFEST, {**manifest, "id": folder.name, "ckpt_dir": None})


def _talk(
    chat: ChatService,
    sessions: int,
    facts: int,
    times: int,
    memory: MemoryName,
    rng: random.Random,
    note: Callable[[str], None],
) -> list[tuple[str, str, str]]:
    """(session, sentence up to the word, word) of each fact; each session is told its facts, a turn a time."""
    syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
    names: set[str] = set()
    while len(names) < sessions * facts:
        names.add("".join(rng.choices(syllables, k=3)).capitalize())
    ordered = sorted(names)
    rng.shuffle(ordered)
    stated = []
    for at in range(sessions):
        session = f"session-{at + 1:03d}"
        chat.new(SessionOptions(model=_BASE, memory=memory), session)
        own = [
            (session, f"The secret word of {name} is ", "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=LETTERS)))
            for name in ordered[at * facts : (at + 1) * facts]
        ]
        for turn in range(times):
            text = "\n".join(f"{start}{word}." for _, start, word in own)
            chat.send(session, text, Sampling(max_new_tokens=_REPLY, seed=turn))
        stated += own
        note(f"{session}: {facts} facts, {times} times")
    return stated


def _questions(
    store: Store, model: OpenModel, core_path: str | None, stated: list[tuple[str, str, str]], rng: random.Random
) -> list[Question]:
    tokenizer, found = model.loaded.tokenizer, []
    val = core_text(store, model, core_path)[0].val
    for session, start, word in stated:
        at = rng.randrange(max(1, len(val) - _BEFORE))
        before = [int(i) for i in val[at : at + _BEFORE] if i not in (tokenizer.bos_id, tokenizer.eos_id)]
        ids = tokenizer.encode(f"\n{start}{word}.\n")
        first = len(f"\n{start}".encode())
        letters, size = [], 0
        for i, token in enumerate(ids):
            after = size + len(tokenizer.decode_bytes([token]))
            if size < first + LETTERS and after > first:
                letters.append(len(before) + i)
            size = after
        found.append(Question(session, [*before, *ids], letters))
    return found


def _read(loaded: LoadedModel, asked: list[Question]) -> float:
    """Bits a letter by a model alone."""
    import torch

    from fastweights.models.slow_weights import still

    bits = 0.0
    with torch.inference_mode():
        for one in asked:
            tokens = torch.tensor([[loaded.tokenizer.bos_id, *one.ids[:-1]]])
            bits += _bits(loaded.lm(tokens, **still(loaded.lm))[0][0].log_softmax(-1), one)
    return bits / (LETTERS * len(asked))


def _adapted(chat: ChatService, asked: list[Question]) -> float:
    """Bits a letter with the fast weights of each session's head, which learn nothing meanwhile."""
    bits = 0.0
    for one in asked:
        at = chat.open_session(one.session_id)
        fast = replace(at.value.fast, carry=at.parts.learner.init().carry)
        bits += _bits(said(at.parts, fast, [at.parts.loaded.tokenizer.bos_id, *one.ids[:-1]]).float(), one)
    return bits / (LETTERS * len(asked))


def _bits(table_TV: Tensor, one: Question) -> float:
    return -sum(float(table_TV[at, one.ids[at]]) for at in one.letters) / math.log(2)
